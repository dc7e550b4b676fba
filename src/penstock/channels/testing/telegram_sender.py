"""The half of the simulated Telegram that talks to Penstock: people say and do things in chats, and somebody forges.

Updates have the shapes of https://core.telegram.org/bots/api#update; a request is what #setwebhook says: JSON, with the
secret word in a header and nothing signed. What is not answered 2xx is sent again.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from penstock.base import clock as clocks
from penstock.channels.testing import posting, simulator, telegram_platform

WRONG_SECRET: Final = "a-word-that-nobody-agreed-on"
"""A well-formed secret word that no account has."""

_FIRST_PERSON: Final = 7_000_000_000


@dataclasses.dataclass(frozen=True, slots=True)
class Forgery:
    """What is wrong with a request on purpose; nothing by default.

    `secret`: sent instead of the newest; empty: no such header. `body`: sent instead of the update.
    """

    secret: str | None = None
    body: bytes | None = None
    content_type: str = "application/json"


_HONEST: Final = Forgery()


class TelegramSender(posting.Posting):
    """Posts updates to the URL of an account.

    `words`: the account's signing secrets, newest first; the first is what setWebhook was told. `patience_s`: for how
    long an update that was not answered 2xx is posted again; 0: once only.
    """

    def __init__(
        self,
        words: list[str],
        *,
        platform: telegram_platform.TelegramPlatform,
        clock: clocks.Clock,
        patience_s: float,
    ) -> None:
        super().__init__(patience_s, insists=True)
        self.words, self.platform, self.clock = words, platform, clock
        self.headers: dict[str, str] = {}
        self._people: dict[str, int] = {}

    async def say(
        self,
        conversation: str,
        text: str,
        *,
        thread: str = "",
        reply_to: str = "",
        sender: str = "ann",
        forgery: Forgery = _HONEST,
    ) -> simulator.Posted:
        """Somebody says something, in a topic (by name or number) or in answer to a message."""
        return await self._create(conversation, {"text": text}, sender, thread, reply_to, forgery)

    async def attach(
        self, conversation: str, name: str, content: bytes, *, text: str = "", sender: str = "ann"
    ) -> simulator.Posted:
        """Somebody sends a file, which a bot is told by its id (#document)."""
        file_id = f"BQAC{self.platform.chat(conversation).last_id}-{name}"
        file = {"file_id": file_id, "file_unique_id": f"AgAD{name}", "file_name": name, "file_size": len(content)}
        said = {"document": {**file, "mime_type": "application/octet-stream"}, **({"caption": text} if text else {})}
        return await self._create(conversation, said, sender, "", "", _HONEST)

    async def edit(self, conversation: str, message_id: str, text: str) -> simulator.Posted:
        """Somebody changes what a message says."""
        chat = self.platform.chat(conversation)
        post = chat.posts[int(message_id)]
        post.text = text
        words = {"caption": text, "document": {"file_id": post.file}} if post.file else {"text": text}
        edited = {**self._message(chat, post), **words, "edit_date": self._now()}
        return await self.post_update(edited_message=edited)

    async def delete(self, conversation: str, message_id: str) -> simulator.Posted:
        """Somebody takes a message back, of which no bot hears: never possible here."""
        raise NotImplementedError(f"Telegram tells no bot that message {message_id} of {conversation} is gone")

    async def react(
        self,
        conversation: str,
        message_id: str,
        reaction: str,
        *,
        removed: bool = False,
        before: tuple[str, ...] = (),
        sender: str = "ann",
    ) -> simulator.Posted:
        """Somebody puts an emoji on a message that had `before` of theirs, or takes it back."""
        chat = self.platform.chat(conversation)
        old = (*before, reaction) if removed else before
        new = before if removed else (*before, reaction)
        changed = {
            "chat": chat.shown(),
            "message_id": int(message_id),
            "user": self.person(sender),
            "date": self._now(),
            "old_reaction": [{"type": "emoji", "emoji": _plain(emoji)} for emoji in old],
            "new_reaction": [{"type": "emoji", "emoji": _plain(emoji)} for emoji in new],
        }
        return await self.post_update(message_reaction=changed)

    async def pin(self, conversation: str, message_id: str, *, sender: str = "ann") -> simulator.Posted:
        """Somebody pins a message: a service message of its own (#message, pinned_message)."""
        chat = self.platform.chat(conversation)
        pinned = self._message(chat, chat.posts[int(message_id)])
        notice = telegram_platform.Post(chat.next_id(), self.person(sender)["id"], "")
        return await self.post_update(message={**self._message(chat, notice), "pinned_message": pinned})

    async def repeat(self, posted: simulator.Posted) -> simulator.Posted:
        """Deliver the same update again, as Telegram does when an answer got lost."""
        return await self.post(posted.body, event_id=posted.event_id, message_id=posted.message_id)

    async def post_update(
        self, *, message_id: str = "", forgery: Forgery = _HONEST, **kind: Mapping[str, Any]
    ) -> simulator.Posted:
        """Post any update, under the next update id."""
        update_id = self.platform.next_update_id()
        # Telegram writes what is not ASCII as escapes.
        body = json.dumps({"update_id": update_id, **kind}).encode("ascii")
        return await self.post(body, forgery, event_id=_event_id(update_id, body, kind), message_id=message_id)

    async def post(
        self, body: bytes, forgery: Forgery = _HONEST, *, event_id: str = "", message_id: str = ""
    ) -> simulator.Posted:
        """Post a body, again and again while it is not answered 2xx and there is patience."""
        sent = body if forgery.body is None else forgery.body
        answer = await self._post(lambda _: self.request_headers(forgery), sent)
        return simulator.Posted(event_id, message_id, answer.status, body)

    def request_headers(self, forgery: Forgery = _HONEST) -> dict[str, str]:
        """The headers of an update's request, forged as told."""
        word = self.words[0] if forgery.secret is None else forgery.secret
        headers = {**self.headers, "content-type": forgery.content_type, "accept-encoding": "gzip, deflate"}
        return {**headers, "x-telegram-bot-api-secret-token": word} if word else headers

    def person(self, name: str) -> dict[str, Any]:
        """A User (#user) of that name."""
        number = self._people.setdefault(name, _FIRST_PERSON + len(self._people))
        return {"id": number, "is_bot": False, "first_name": name.capitalize(), "username": name}

    async def _create(
        self,
        conversation: str,
        said: Mapping[str, Any],
        sender: str,
        thread: str,
        reply_to: str,
        forgery: Forgery,
    ) -> simulator.Posted:
        chat = self.platform.chat(conversation)
        topic = self._topic(chat, thread, sender) if thread else 0
        text = said.get("text") or said.get("caption", "")
        file = said.get("document", {}).get("file_id", "")
        author = self.person(sender)["id"]
        post = telegram_platform.Post(chat.next_id(), author, text, int(reply_to or 0), topic, file)
        chat.add(post)
        message = {**self._message(chat, post), **said}
        # Whatever stands in a topic and answers nothing "answers" the service message that opened the topic.
        answered = chat.posts.get(post.reply_to or topic)
        if answered is not None:
            message["reply_to_message"] = self._message(chat, answered)
        return await self.post_update(message=message, message_id=str(post.message_id), forgery=forgery)

    def _topic(self, chat: telegram_platform.Chat, thread: str, sender: str) -> int:
        """The topic of that name or number; a new name opens one, whose number is that of the message saying so."""
        if thread.isdigit() and int(thread) in chat.topics.values():
            return int(thread)
        if thread not in chat.topics:
            number = chat.topics[thread] = chat.next_id()
            chat.add(telegram_platform.Post(number, self.person(sender)["id"], "", topic=number))
        return chat.topics[thread]

    def _message(self, chat: telegram_platform.Chat, post: telegram_platform.Post) -> dict[str, Any]:
        """A message (#message) as it stands in an update; its file, if any, is for the caller to add."""
        people = {number: name for name, number in self._people.items()}
        author = self.person(people[post.author]) if post.author in people else dict(telegram_platform.BOT)
        shown: dict[str, Any] = {"message_id": post.message_id, "from": author, "chat": chat.shown()}
        shown["date"] = self._now()
        if post.topic:
            shown |= {"message_thread_id": post.topic, "is_topic_message": True}
        if post.topic == post.message_id:
            return {**shown, "forum_topic_created": {"name": "topic", "icon_color": 7322096}}
        return {**shown, "text": post.text} if post.text and not post.file else shown

    def _now(self) -> int:
        return int(self.clock.now().timestamp())


def _event_id(update_id: int, body: bytes, kind: Mapping[str, Mapping[str, Any]]) -> str:
    """What Penstock knows it by: the update, and what that is about, or what it says where nobody can tell."""
    (about,) = kind.values()
    if kind.keys() & telegram_platform.TOLD:
        return f"{update_id}/{about['chat']['id']}/{about['message_id']}"
    return f"{update_id}/{hashlib.sha256(body).hexdigest()[:16]}"


def _plain(emoji: str) -> str:
    """Telegram's emoji for messages have no variation selector."""
    return emoji.replace("\ufe0f", "")
