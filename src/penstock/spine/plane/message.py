"""One message as it came: bytes that are looked into only when somebody asks.

Headers are an HTTP-like block: https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-4.md
"""

from collections.abc import Callable, Mapping
from typing import Final

NO_HEADERS: Final[Mapping[str, str]] = {}


class Message:
    """What a receiver is handed: `subject`, `reply` (empty when no answer is asked for), `block` and `body` as sent."""

    __slots__ = ("_headers", "block", "body", "reply", "subject")

    def __init__(self, subject: str, reply: str, block: bytes, body: bytes) -> None:
        self.subject, self.reply, self.block, self.body = subject, reply, block, body
        self._headers: Mapping[str, str] | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, parsed when first asked for; of a name that comes twice, the last value."""
        if self._headers is None:
            self._headers = _parsed(self.block) if self.block else NO_HEADERS
        return self._headers

    @property
    def status(self) -> str:
        """The three digits of a message that is a status of the server (`503`: nobody listens); empty for any other."""
        return "" if self.body else self._first_line()[0]

    @property
    def description(self) -> str:
        """The words beside the status; empty without any."""
        return "" if self.body else self._first_line()[1]

    def _first_line(self) -> tuple[str, str]:
        words = self.block.partition(b"\r\n")[0].decode("utf-8", "replace").split(None, 2)
        if len(words) < 2 or len(words[1]) != 3 or not words[1].isdecimal():
            return "", ""
        return words[1], words[2].strip() if len(words) > 2 else ""

    def __repr__(self) -> str:
        return f"Message(subject={self.subject!r}, reply={self.reply!r}, {len(self.body)} bytes)"


Receive = Callable[[Message], None]
"""Called within the socket's callback: must not block; what it raises is logged."""


def _parsed(block: bytes) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for line in block.decode("utf-8", "replace").split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        if colon and name:
            headers[name] = value.strip()
    return headers
