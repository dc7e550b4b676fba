"""What the simulated Telegram knows: chats, their messages, and what each method of the Bot API does to them.

Pure: no clock, no sockets. Written from https://core.telegram.org/bots/api alone: what a method takes, in which types,
and what it answers. A parameter that the documentation does not name is a fault, although Telegram ignores it.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import msgspec

_EMOJI: Final = (
    "❤ 👍 👎 🔥 🥰 👏 😁 🤔 🤯 😱 🤬 😢 🎉 🤩 🤮 💩 🙏 👌 🕊 🤡 🥱 🥴 😍 🐳 ❤\u200d🔥 🌚 🌭 💯 🤣 ⚡ 🍌 🏆 💔 "
    "🤨 😐 🍓 🍾 💋 🖕 😈 😴 😭 🤓 👻 👨\u200d💻 👀 🎃 🙈 😇 😨 🤝 ✍ 🤗 🫡 🎅 🎄 ☃ 💅 🤪 🗿 🆒 💘 🙉 🦄 "
    "😘 💊 🙊 😎 👾 🤷\u200d♂ 🤷 🤷\u200d♀ 😡"
)
EMOJI: Final = frozenset(_EMOJI.split())
"""Everything that may be put on a message (#reactiontypeemoji)."""

TEXT_LENGTH: Final = 4096
CAPTION_LENGTH: Final = 1024

BOT: Final[Mapping[str, Any]] = {
    "id": 5550001,
    "is_bot": True,
    "first_name": "Penstock",
    "username": "penstock_example_bot",
}
"""The bot that the account is for, as a User (#user)."""

Number = Annotated[int, msgspec.Meta(ge=1)]
ChatId = int | Annotated[str, msgspec.Meta(pattern=r"^@[A-Za-z0-9_]{4,64}$")]


class ReplyParameters(msgspec.Struct, forbid_unknown_fields=True):
    """#replyparameters."""

    message_id: Number
    allow_sending_without_reply: bool = False


class ReactionType(msgspec.Struct, forbid_unknown_fields=True):
    """#reactiontype."""

    type: str
    emoji: str = ""
    custom_emoji_id: str = ""


class New(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """#sendmessage, and the methods that send one file by its URL or its id (#sending-files)."""

    chat_id: ChatId
    message_thread_id: int = 0
    reply_parameters: ReplyParameters | None = None
    text: str = ""
    caption: str = ""
    photo: str = ""
    animation: str = ""
    video: str = ""
    audio: str = ""
    voice: str = ""
    document: str = ""


class Edit(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """#editmessagetext and #editmessagecaption."""

    chat_id: ChatId
    message_id: Number
    text: str = ""
    caption: str = ""


class Deletion(msgspec.Struct, forbid_unknown_fields=True):
    """#deletemessage."""

    chat_id: ChatId
    message_id: Number


class SetReaction(msgspec.Struct, forbid_unknown_fields=True):
    """#setmessagereaction."""

    chat_id: ChatId
    message_id: Number
    reaction: list[ReactionType] = []


Parameters = New | Edit | Deletion | SetReaction

SENDING: Final = {
    "sendMessage": "text",
    "sendPhoto": "photo",
    "sendAnimation": "animation",
    "sendVideo": "video",
    "sendAudio": "audio",
    "sendVoice": "voice",
    "sendDocument": "document",
}
"""Methods that make a message, with the parameter that they need."""

METHODS: Final[Mapping[str, type[Parameters]]] = {
    **dict.fromkeys(SENDING, New),
    "editMessageText": Edit,
    "editMessageCaption": Edit,
    "deleteMessage": Deletion,
    "setMessageReaction": SetReaction,
}

TOLD: Final = frozenset({"message", "edited_message", "channel_post", "edited_channel_post", "message_reaction"})
"""Kinds of update that are about one message of one chat."""


@dataclasses.dataclass(slots=True)
class Post:
    """One message as people in the chat see it. `author` is a User's id; `reactions` are the bot's."""

    message_id: int
    author: int
    text: str
    reply_to: int = 0
    topic: int = 0
    file: str = ""
    reactions: list[str] = dataclasses.field(default_factory=list[str])


@dataclasses.dataclass(slots=True)
class Chat:
    """One chat: its Chat object (#chat) and what was said in it. Ids of messages mean nothing in another chat."""

    id: int
    name: str
    topics: dict[str, int] = dataclasses.field(default_factory=dict[str, int])
    posts: dict[int, Post] = dataclasses.field(default_factory=dict[int, Post])
    last_id: int = 0
    moved_to: int = 0

    def shown(self) -> dict[str, Any]:
        """The chat as updates and answers show it."""
        if self.id > 0:
            return {"id": self.id, "first_name": self.name, "type": "private"}
        return {
            "id": self.id,
            "title": self.name,
            "type": "supergroup",
            **({"is_forum": True} if self.topics else {}),
        }

    def next_id(self) -> int:
        """An id for a message."""
        self.last_id += 1
        return self.last_id

    def add(self, post: Post) -> None:
        """Somebody said something."""
        self.posts[post.message_id] = post


class Refused(Exception):
    """What Telegram answers instead of a result: status, words and parameters (#responseparameters)."""

    def __init__(self, status: int, words: str, **parameters: int) -> None:
        super().__init__(words)
        self.status, self.words, self.parameters = status, words, parameters


class TelegramPlatform:
    """Chats by their numbers; people call them by name."""

    def __init__(self, first_update: int) -> None:
        self._chats: dict[int, Chat] = {}
        self._by_name: dict[str, Chat] = {}
        self._update_id = first_update

    def next_update_id(self) -> int:
        """Update ids go up by one."""
        self._update_id += 1
        return self._update_id

    def chat(self, name: str) -> Chat:
        """The chat of that name or number; a new name is a new group, a new positive number a private chat."""
        found = self._by_name.get(name)
        if found is None:
            number = int(name) if name.removeprefix("-").isdigit() else -1001000000000 - len(self._chats) - 1
            found = self._by_name[name] = self._chats.setdefault(number, Chat(number, name))
        return found

    def migrate(self, chat: Chat) -> Chat:
        """The group becomes a supergroup with another number; messages do not come along."""
        moved = self.chat(str(chat.id - 1_000_000))
        chat.moved_to = moved.id
        return moved

    def do(self, method: str, parameters: Parameters, date: int) -> Any:
        """The `result` of a call whose parameters are sound. Raises Refused, in Telegram's words."""
        chat = self._chats.get(parameters.chat_id) if isinstance(parameters.chat_id, int) else None
        if chat is None:
            raise Refused(400, "Bad Request: chat not found")
        if chat.moved_to:
            words = "Bad Request: group chat was upgraded to a supergroup chat"
            raise Refused(400, words, migrate_to_chat_id=chat.moved_to)
        match parameters:
            case New():
                return self._send(chat, method, parameters, date)
            case Edit():
                return self._edit(chat, method, parameters, date)
            case Deletion():
                self._found(chat, parameters.message_id, "message to delete not found")
                del chat.posts[parameters.message_id]
                return True
            case SetReaction():
                return self._react(chat, parameters)

    def _send(self, chat: Chat, method: str, wanted: New, date: int) -> dict[str, Any]:
        text = wanted.text or wanted.caption
        if method == "sendMessage" and not text.strip():
            raise Refused(400, "Bad Request: message text is empty")
        if len(wanted.text) > TEXT_LENGTH:
            raise Refused(400, "Bad Request: message is too long")
        if len(wanted.caption) > CAPTION_LENGTH:
            raise Refused(400, "Bad Request: message caption is too long")
        if wanted.message_thread_id and wanted.message_thread_id not in chat.topics.values():
            raise Refused(400, "Bad Request: message thread not found")
        reply_to = 0
        if wanted.reply_parameters is not None:
            reply_to = wanted.reply_parameters.message_id
            if reply_to not in chat.posts:
                if not wanted.reply_parameters.allow_sending_without_reply:
                    raise Refused(400, "Bad Request: message to be replied not found")
                reply_to = 0
        file = "" if method == "sendMessage" else getattr(wanted, SENDING[method])
        post = Post(chat.next_id(), BOT["id"], text, reply_to, wanted.message_thread_id, file)
        chat.add(post)
        return _message(chat, post, date)

    def _edit(self, chat: Chat, method: str, wanted: Edit, date: int) -> dict[str, Any]:
        post = self._found(chat, wanted.message_id, "message to edit not found")
        if post.author != BOT["id"]:
            raise Refused(400, "Bad Request: message can't be edited")
        if method == "editMessageText" and post.file:
            raise Refused(400, "Bad Request: there is no text in the message to edit")
        text = wanted.text or wanted.caption
        if method == "editMessageText" and not text.strip():
            raise Refused(400, "Bad Request: message text is empty")
        if text == post.text:
            words = "message is not modified: specified new message content and reply markup are exactly the same"
            raise Refused(400, f"Bad Request: {words} as a current content and reply markup of the message")
        post.text = text
        return {**_message(chat, post, date), "edit_date": date}

    def _react(self, chat: Chat, wanted: SetReaction) -> bool:
        post = self._found(chat, wanted.message_id, "message to react not found")
        names = [reaction.emoji or reaction.custom_emoji_id for reaction in wanted.reaction]
        if len(names) > 1:
            raise Refused(400, "Bad Request: REACTIONS_TOO_MANY")
        if any(reaction.type != "emoji" or reaction.emoji not in EMOJI for reaction in wanted.reaction):
            raise Refused(400, "Bad Request: REACTION_INVALID")
        post.reactions = names
        return True

    def _found(self, chat: Chat, message_id: int, words: str) -> Post:
        post = chat.posts.get(message_id)
        if post is None:
            raise Refused(400, f"Bad Request: {words}")
        return post


def decode(method: str, body: bytes) -> Parameters:
    """The parameters of a call. Raises ValueError saying how they break the documentation."""
    try:
        parameters = _DECODERS[method](body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{method}: {error}") from None
    if isinstance(parameters, New):
        others = {field for field in SENDING.values() if getattr(parameters, field)}
        if others - {SENDING[method]} or (method != "sendMessage" and not others):
            raise ValueError(f"{method} takes {SENDING[method]}, not {', '.join(sorted(others)) or 'nothing'}")
        if parameters.caption and method == "sendMessage":
            raise ValueError("sendMessage has no caption")
    return parameters


def _message(chat: Chat, post: Post, date: int) -> dict[str, Any]:
    """A message of the bot's, as methods return it (#message)."""
    shown: dict[str, Any] = {"message_id": post.message_id, "from": dict(BOT), "chat": chat.shown(), "date": date}
    if post.topic:
        shown |= {"message_thread_id": post.topic, "is_topic_message": True}
    if post.file:
        shown |= {"document": {"file_id": f"file-{post.message_id}", "file_unique_id": f"u{post.message_id}"}}
        return {**shown, "caption": post.text} if post.text else shown
    return {**shown, "text": post.text}


def _decoder(kind: type[Parameters]) -> Callable[[bytes], Parameters]:
    return msgspec.json.Decoder(kind).decode


_DECODERS: Final[Mapping[str, Callable[[bytes], Parameters]]] = {
    method: _decoder(kind) for method, kind in METHODS.items()
}
