"""What the simulated Zoho Cliq knows: chats, channels, threads, messages, and what its REST API makes of a call.

Pure: no clock, no sockets. Written from https://www.zoho.com/cliq/help/restapi/v2/messages/ and the objects below
https://www.zoho.com/cliq/help/platform/cliq-objects.html, not from the adapter: both must not share one mistake.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

TEXT_LENGTH: Final = 5000
"""Characters of one message."""

ORGANISATION: Final = "60010101"
OWNER: Final = "71009999"
"""The user id of whoever the token belongs to: what is posted to a chat is posted by that user."""

_MESSAGE: Final = r"(?P<id>[0-9]+(?:_|%20)[0-9]+)"
_ROUTES: Final = {
    ("POST", r"/bots/(?P<bot>[^/]+)/message"): ("as_bot", {"text", "userids"}, {"sync_message"}, set[str]()),
    ("POST", r"/channelsbyname/(?P<channel>[^/]+)/message"): (
        "in_channel",
        {"text"},
        {"reply_to", "sync_message"},
        {"bot_unique_name"},
    ),
    ("POST", r"/chats/(?P<chat>[^/]+)/message"): (
        "in_chat",
        {"text"},
        {"reply_to", "sync_message", "mark_as_read"},
        set[str](),
    ),
    ("PUT", rf"/chats/(?P<chat>[^/]+)/messages/{_MESSAGE}"): ("edit", {"text"}, {"notify_edit"}, set[str]()),
    ("DELETE", rf"/chats/(?P<chat>[^/]+)/messages/{_MESSAGE}"): ("delete", set[str](), set[str](), set[str]()),
    ("POST", rf"/chats/(?P<chat>[^/]+)/messages/{_MESSAGE}/reactions"): (
        "react",
        {"emoji_code"},
        set[str](),
        set[str](),
    ),
    ("DELETE", rf"/chats/(?P<chat>[^/]+)/messages/{_MESSAGE}/reactions"): (
        "unreact",
        {"emoji_code"},
        set[str](),
        set[str](),
    ),
}
"""Calls by method and path: what they do, the arguments that they need and may have, and their query."""

_BOOLEANS: Final = frozenset({"sync_message", "mark_as_read", "notify_edit"})


class Refused(Exception):
    """Cliq says no: a status, and the body that the documentation shows for it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"code": code, "message": message} if code else {"message": message}


class Faulty(Exception):
    """A call that breaks the documentation."""


@dataclasses.dataclass(slots=True)
class Post:
    """One message. `author` is a user's id, or the bot's; `reactions` are those made by calls."""

    message_id: str
    author: str
    text: str
    reply_to: str = ""
    thread: str = ""
    deleted: bool = False
    file: Mapping[str, Any] | None = None
    reactions: list[str] = dataclasses.field(default_factory=list[str])


@dataclasses.dataclass(slots=True)
class Chat:
    """A channel by its unique name, or the bot's chat with one person."""

    id: str
    channel: str = ""
    person: str = ""
    posts: dict[str, Post] = dataclasses.field(default_factory=dict[str, Post])
    threads: dict[str, str] = dataclasses.field(default_factory=dict[str, str])

    @property
    def conversation(self) -> str:
        """What Penstock calls it."""
        return f"{self.id}/{self.person}" if self.person else f"{self.id}/#{self.channel}"


@dataclasses.dataclass(frozen=True, slots=True)
class Done:
    """What became of a call that was in order: where, to which message, and the answer."""

    kind: str
    chat: Chat
    post: Post
    text: str
    status: int
    body: Mapping[str, Any]


class CliqPlatform:
    """Chats by the names that a test gives them: `@ann` is the bot's chat with Ann, anything else a channel.

    `moment` gives the time in milliseconds. `uninvited` are channels whose bot takes no part.
    """

    def __init__(self, run: int, moment: Callable[[], int]) -> None:
        self.bot = "gardenbot"
        self.bot_id = f"b-{run}"
        self.uninvited = set[str]()
        self._run, self._moment, self._number = run, moment, 0
        self._chats: dict[str, Chat] = {}
        self._people: dict[str, str] = {}

    def chat(self, name: str) -> Chat:
        """The chat of this name, there as soon as it is named."""
        if name not in self._chats:
            number = f"CT_{self._run}{len(self._chats):06}_{ORGANISATION}"
            if name.startswith("@"):
                self._chats[name] = Chat(f"{number}-B2", person=self.person(name[1:]))
            else:
                self._chats[name] = Chat(number, channel=re.sub(r"[^a-z0-9]", "", name.lower()) or "channel")
        return self._chats[name]

    def posts(self, conversation: str) -> list[Post]:
        """What stands in the conversation that Penstock calls so."""
        chats = [chat for chat in self._chats.values() if chat.conversation == conversation]
        return [post for chat in chats for post in chat.posts.values()]

    def person(self, name: str) -> str:
        """The user id of a person."""
        return self._people.setdefault(name, str(71_000_001 + len(self._people)))

    def thread(self, chat: Chat, name: str) -> str:
        """The chat id of a thread, by name or by that id."""
        if name in chat.threads.values():
            return name
        return chat.threads.setdefault(name, f"{chat.id}-T-{self._run}{len(chat.threads)}")

    def add(self, chat: Chat, author: str, text: str, **more: Any) -> Post:
        """Somebody said something."""
        self._number += 1
        post = Post(f"{self._moment()}_{self._run % 1000}{self._number:09}", author, text, **more)
        chat.posts[post.message_id] = post
        return post

    def do(self, method: str, path: str, query: Mapping[str, str], arguments: Mapping[str, Any]) -> Done:
        """Check a call and do what it says. Raises Faulty, or Refused."""
        for (verb, pattern), (kind, needed, allowed, queried) in _ROUTES.items():
            match = re.fullmatch(pattern, path)
            if verb == method and match:
                _check(f"{method} {kind}", arguments, needed, allowed)
                if set(query) != queried:
                    raise Faulty(f"{method} {kind}: the query has {sorted(query)}, not {sorted(queried)}")
                return self._act(kind, match.groupdict(), query, arguments)
        raise Faulty(f"there is no call {method} {path}")

    def _act(self, kind: str, where: Mapping[str, str], query: Mapping[str, str], arguments: Mapping[str, Any]) -> Done:
        if kind == "as_bot":
            return self._say_as_bot(where["bot"], arguments)
        if kind == "in_channel":
            return self._say_in_channel(where["channel"], query["bot_unique_name"], arguments)
        chat, thread = self._find(where["chat"])
        if kind == "in_chat":
            post = self._say(chat, OWNER, arguments, thread)
            return Done("send", chat, post, post.text, 200, {"message_id": post.message_id})
        post = chat.posts.get(where["id"].replace("%20", "_"))
        if post is None or post.deleted:
            raise Refused(404, "message_not_found", "Requested message could not be found.")
        if kind in ("edit", "delete"):
            if post.author not in (OWNER, self.bot_id):
                raise Refused(403, "access_denied", "You do not have permission to delete this message.")
            post.deleted = kind == "delete"
            post.text = str(arguments.get("text", post.text))
            return Done(kind, chat, post, post.text if kind == "edit" else "", 204, {})
        emoji = str(arguments["emoji_code"])
        if kind == "react" and emoji not in post.reactions:
            post.reactions.append(emoji)
        elif kind == "unreact" and emoji in post.reactions:
            post.reactions.remove(emoji)
        return Done(kind, chat, post, emoji, 204, {})

    def _say_as_bot(self, bot: str, arguments: Mapping[str, Any]) -> Done:
        self._check_bot(bot)
        user = str(arguments["userids"])
        chat = next((one for one in self._chats.values() if one.person == user), None)
        if chat is None:
            raise Refused(400, "invalid_inputs", "Request body validation failed.")
        post = self._say(chat, self.bot_id, arguments, "")
        told = {"chat_id": chat.id, "message_id": post.message_id.replace("_", "%20")}
        body = {"user_ids": [user], "message_details": {user: told}}
        return Done("send", chat, post, post.text, 200, body)

    def _say_in_channel(self, channel: str, bot: str, arguments: Mapping[str, Any]) -> Done:
        self._check_bot(bot)
        chat = next((one for one in self._chats.values() if one.channel == channel), None)
        if chat is None or channel in self.uninvited:
            raise Refused(400, "channel_not_exists", "The channel does not exist.")
        post = self._say(chat, self.bot_id, arguments, "")
        return Done("send", chat, post, post.text, 200, {"message_id": post.message_id})

    def _say(self, chat: Chat, author: str, arguments: Mapping[str, Any], thread: str) -> Post:
        reply_to = str(arguments.get("reply_to", "")).replace("%20", "_")
        if reply_to and reply_to not in chat.posts:
            raise Refused(404, "message_not_found", "Requested message could not be found.")
        return self.add(chat, author, str(arguments["text"]), reply_to=reply_to, thread=thread)

    def _find(self, chat_id: str) -> tuple[Chat, str]:
        for chat in self._chats.values():
            if chat_id == chat.id or chat_id in chat.threads.values():
                return chat, chat_id if chat_id != chat.id else ""
        raise Refused(404, "chat_not_found", "The requested chat does not exist or you are not a participant.")

    def _check_bot(self, bot: str) -> None:
        if bot != self.bot:
            raise Refused(404, "", "The URL you've sent is wrong.")


def _check(call: str, arguments: Mapping[str, Any], needed: set[str], allowed: set[str]) -> None:
    for name in needed - arguments.keys():
        raise Faulty(f"{call}: {name} is missing")
    for name, value in arguments.items():
        if name not in needed | allowed:
            raise Faulty(f"{call}: there is no argument {name}")
        if not isinstance(value, bool if name in _BOOLEANS else str):
            raise Faulty(f"{call}: {name} is {type(value).__name__}")
    if not 1 <= len(str(arguments.get("text", "x"))) <= TEXT_LENGTH:
        raise Faulty(f"{call}: text is empty, or longer than {TEXT_LENGTH} characters")
