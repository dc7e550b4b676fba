"""What the simulated Slack knows: who said what in which channel, and what its Web API makes of a call.

Pure: no clock, no sockets. Written from the method pages below https://docs.slack.dev/reference/methods, not from the
adapter: both must not share one mistake.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

TEXT_LENGTH: Final = 40_000
"""Characters after which Slack cuts a text off."""

ARGUMENTS: Final[Mapping[str, Mapping[str, bool]]] = {
    "chat.postMessage": {
        **dict.fromkeys(("channel", "text"), True),
        **dict.fromkeys(("thread_ts", "reply_broadcast", "mrkdwn", "parse", "unfurl_links", "unfurl_media"), False),
    },
    "chat.update": {"channel": True, "ts": True, "text": True, "parse": False, "reply_broadcast": False},
    "chat.delete": {"channel": True, "ts": True},
    "reactions.add": {"channel": True, "timestamp": True, "name": True},
    "reactions.remove": {"channel": True, "timestamp": True, "name": True},
}
"""The methods that are simulated: their documented arguments, and whether we need them."""

_EMOJI: Final = re.compile(r"[a-z0-9_+'-]{1,100}(?:::skin-tone-[2-6])?")
_TS: Final = re.compile(r"[0-9]{10}\.[0-9]{6}")
_MARKUP: Final = re.compile(r"<(?P<what>[^<>|]+)(?:\|(?P<label>[^<>|]*))?>")
_LOOSE: Final = re.compile(r"[<>]|&(?!amp;|lt;|gt;)")


@dataclasses.dataclass(slots=True)
class Post:
    """One message. `text` is as Slack keeps it, with its markup and escapes; `reactions` are who by name."""

    ts: str
    user: str
    text: str
    thread_ts: str = ""
    bot: bool = False
    deleted: bool = False
    reactions: dict[str, list[str]] = dataclasses.field(default_factory=dict[str, list[str]])
    files: list[dict[str, Any]] = dataclasses.field(default_factory=list[dict[str, Any]])

    @property
    def seen(self) -> str:
        """What people read."""
        return rendered(self.text)


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """One call of a method by Penstock that was in order: when, what, what was answered, and whether it was done."""

    at_s: float
    method: str
    arguments: Mapping[str, Any]
    answer: Mapping[str, Any]
    done: bool

    @property
    def channel(self) -> str:
        """Where."""
        return str(self.arguments.get("channel", ""))


class SlackWorkspace:
    """Channels full of posts. A channel is there as soon as it is named, and the app has been invited to it.

    `archived`, `uninvited` and `unknown` are the channels that answer so. `moment` gives the time in microseconds.
    """

    def __init__(self, run: str, moment: Callable[[], int]) -> None:
        self.team = f"T{run.upper()}"
        self.app_id = f"A{run.upper()}"
        self.bot_user = f"U{run.upper()}BOT"
        self.bot_id = f"B{run.upper()}BOT"
        self.archived, self.uninvited, self.unknown = set[str](), set[str](), set[str]()
        self._moment, self._last, self._number, self._run = moment, 0, 0, run
        self._channels: dict[str, dict[str, Post]] = {}

    def next_ts(self) -> str:
        """A timestamp that no other post has."""
        self._last = max(self._moment(), self._last + 1)
        return f"{self._last // 1_000_000:010}.{self._last % 1_000_000:06}"

    def next_id(self, prefix: str) -> str:
        """A fresh id of Slack's own, unlike that of any other run."""
        self._number += 1
        return f"{prefix}{self._run.upper()}{self._number:04}"

    def posts(self, channel: str) -> list[Post]:
        """What is in a channel, in the order in which it was said, taken back or not."""
        return list(self._channels.get(channel, {}).values())

    def find(self, channel: str, ts: str) -> Post | None:
        """A post that is there and was not taken back."""
        post = self._channels.get(channel, {}).get(ts)
        return None if post is None or post.deleted else post

    def add(self, channel: str, post: Post) -> None:
        """Somebody said something."""
        self._channels.setdefault(channel, {})[post.ts] = post

    def fault(self, method: str, arguments: Mapping[str, Any]) -> str:
        """How a call breaks the documentation, in words; empty when it does not."""
        known = ARGUMENTS.get(method)
        if known is None:
            return f"there is no method {method}"
        for name, value in arguments.items():
            if name not in known:
                return f"{method} has no argument {name}"
            if not isinstance(value, str | bool):
                return f"{method}: {name} is {type(value).__name__}"
            if name in ("ts", "thread_ts", "timestamp") and not _TS.fullmatch(str(value)):
                return f"{method}: {name} is not a timestamp"
        text = str(arguments.get("text", ""))
        if _LOOSE.search(_MARKUP.sub("", text)):
            return f"{method}: text holds a <, > or & that is neither markup nor escaped"
        if len(text) > TEXT_LENGTH:
            return f"{method}: text is longer than {TEXT_LENGTH} characters and would be cut off"
        return ""

    def call(self, method: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Do what a faultless call says, and answer as Slack does."""
        channel = str(arguments.get("channel", ""))
        missing = [name for name, needed in ARGUMENTS[method].items() if needed and not arguments.get(name)]
        if missing:
            return {"ok": False, "error": _MISSING.get(missing[0], "invalid_arguments")}
        for names, error in ((self.unknown, "channel_not_found"), (self.archived, "is_archived")):
            if channel in names:
                return {"ok": False, "error": error}
        if channel in self.uninvited:
            return {"ok": False, "error": "not_in_channel"}
        if method == "chat.postMessage":
            return self._post(channel, arguments)
        post = self.find(channel, str(arguments.get("ts") or arguments.get("timestamp")))
        if post is None:
            return {"ok": False, "error": "message_not_found"}
        if method.startswith("reactions."):
            return self._react(post, str(arguments["name"]), removed=method == "reactions.remove")
        return self._change(channel, post, arguments.get("text"))

    def _post(self, channel: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        thread_ts = str(arguments.get("thread_ts", ""))
        root = self._channels.get(channel, {}).get(thread_ts)  # one that was taken back leaves its thread
        if thread_ts and (root is None or root.thread_ts):
            return {"ok": False, "error": "cannot_reply_to_message"}
        post = Post(self.next_ts(), self.bot_user, str(arguments["text"]), thread_ts, bot=True)
        self.add(channel, post)
        message = {"type": "message", "text": post.text, "user": self.bot_user, "bot_id": self.bot_id, "ts": post.ts}
        return {"ok": True, "channel": channel, "ts": post.ts, "message": message}

    def _change(self, channel: str, post: Post, text: object) -> dict[str, Any]:
        if not post.bot:
            return {"ok": False, "error": "cant_delete_message" if text is None else "cant_update_message"}
        answer: dict[str, Any] = {"ok": True, "channel": channel, "ts": post.ts}
        if text is None:
            post.deleted = True
            return answer
        post.text = str(text)
        return {**answer, "text": post.text, "message": {"text": post.text, "user": self.bot_user}}

    def _react(self, post: Post, name: str, *, removed: bool) -> dict[str, Any]:
        if not _EMOJI.fullmatch(name):
            return {"ok": False, "error": "invalid_name"}
        mine = self.bot_user in post.reactions.get(name, ())
        if mine is not removed:
            return {"ok": False, "error": "no_reaction" if removed else "already_reacted"}
        self.react(post, name, self.bot_user, removed=removed)
        return {"ok": True}

    def react(self, post: Post, name: str, user: str, *, removed: bool = False) -> None:
        """Somebody puts a reaction on a post, or takes it back."""
        users = post.reactions.setdefault(name, [])
        (users.remove if removed else users.append)(user)
        if not users:
            del post.reactions[name]


_MISSING: Final = {"channel": "channel_not_found", "text": "no_text", "name": "invalid_name"}


def rendered(text: str) -> str:
    """A text as people read it: links by their label, mentions with an @, and Slack's three escapes undone."""

    def shown(match: re.Match[str]) -> str:
        what = match["what"].lstrip("!") if match["what"][0] == "!" else match["what"]
        return match["label"] or (f"@{what}" if match["what"][0] == "!" else what)

    plain = _MARKUP.sub(shown, text)
    return plain.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def escaped(text: str) -> str:
    """A text that people typed, as Slack keeps it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
