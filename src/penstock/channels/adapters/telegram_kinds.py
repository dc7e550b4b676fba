"""What Telegram may tell a bot, by name: what is read, what is known to be of no interest, and so what is news.

Source: https://core.telegram.org/bots/api#update and #message, as of Bot API 10.2. A name that is not here is not
dropped: the update is kept as it came.
"""

from typing import Final

SAID: Final = frozenset({"message", "channel_post"})
EDITED: Final = frozenset({"edited_message", "edited_channel_post"})
REACTED: Final = "message_reaction"

UNINTERESTING: Final = frozenset(
    {
        # What bots are asked that offer more than talk: buttons, inline results, payments, polls, boosts, managed bots.
        "callback_query",
        "inline_query",
        "chosen_inline_result",
        "shipping_query",
        "pre_checkout_query",
        "purchased_paid_media",
        "subscription",
        "poll",
        "poll_answer",
        "chat_boost",
        "removed_chat_boost",
        "managed_bot",
        # Who is in a chat.
        "my_chat_member",
        "chat_member",
        "chat_join_request",
        # How many reacted, in channels, where nobody says who.
        "message_reaction_count",
        # Chats that the bot is not in: what it says there goes through other methods.
        "business_connection",
        "business_message",
        "edited_business_message",
        "deleted_business_messages",
        "guest_message",
    }
)
"""Kinds of update that carry no message to a conversation of the bot."""

FILES: Final = ("animation", "audio", "document", "sticker", "video", "video_note", "voice")
"""Fields of a message that hold one file; `photo` holds several sizes of one."""

CONTENT: Final = {
    "venue": ("title", "address"),
    "location": ("latitude", "longitude"),
    "contact": ("phone_number", "first_name", "last_name"),
    "dice": ("emoji", "value"),
    "poll": ("question",),
    "game": ("title",),
    "story": (),
    "checklist": ("title",),
    "invoice": ("title", "total_amount", "currency"),
    "giveaway": (),
    "giveaway_winners": (),
    "paid_media": (),
}
"""What people send that is neither text nor file, with the fields that become attributes; in the order of looking.

Not `rich_message`, whose words lie in blocks within blocks: it is kept whole, as an unknown kind, until it is read.
"""

PINNED: Final = "pinned_message"

SERVICE: Final = frozenset(
    {
        "new_chat_members",
        "left_chat_member",
        "chat_owner_left",
        "chat_owner_changed",
        "new_chat_title",
        "new_chat_photo",
        "delete_chat_photo",
        "group_chat_created",
        "supergroup_chat_created",
        "channel_chat_created",
        "message_auto_delete_timer_changed",
        "migrate_to_chat_id",
        "migrate_from_chat_id",
        "successful_payment",
        "refunded_payment",
        "users_shared",
        "chat_shared",
        "gift",
        "unique_gift",
        "gift_upgrade_sent",
        "connected_website",
        "write_access_allowed",
        "passport_data",
        "proximity_alert_triggered",
        "boost_added",
        "chat_background_set",
        "checklist_tasks_done",
        "checklist_tasks_added",
        "community_chat_added",
        "community_chat_removed",
        "direct_message_price_changed",
        "forum_topic_created",
        "forum_topic_edited",
        "forum_topic_closed",
        "forum_topic_reopened",
        "general_forum_topic_hidden",
        "general_forum_topic_unhidden",
        "giveaway_created",
        "giveaway_completed",
        "managed_bot_created",
        "paid_message_price_changed",
        "poll_option_added",
        "poll_option_deleted",
        "suggested_post_approved",
        "suggested_post_approval_failed",
        "suggested_post_declined",
        "suggested_post_paid",
        "suggested_post_refunded",
        "video_chat_scheduled",
        "video_chat_started",
        "video_chat_ended",
        "video_chat_participants_invited",
        "web_app_data",
    }
)
"""Fields of messages that nobody wrote: Telegram tells what happened to the chat."""

PLAIN: Final = frozenset(
    {
        "message_id",
        "message_thread_id",
        "direct_messages_topic",
        "from",
        "sender_chat",
        "sender_boost_count",
        "sender_business_bot",
        "sender_tag",
        "receiver_user",
        "ephemeral_message_id",
        "date",
        "chat",
        "forward_origin",
        "is_topic_message",
        "is_automatic_forward",
        "reply_to_message",
        "external_reply",
        "quote",
        "reply_to_story",
        "via_bot",
        "edit_date",
        "has_protected_content",
        "is_from_offline",
        "is_paid_post",
        "media_group_id",
        "author_signature",
        "paid_star_count",
        "entities",
        "effect_id",
        "caption",
        "caption_entities",
        "show_caption_above_media",
        "has_media_spoiler",
        "reply_markup",
    }
)
"""Fields that say how a message came about and not what it is."""
