"""Reads an ASGI request whole or refuses it early: how big, how slow and how odd it may be."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from datetime import datetime
from typing import Any

from penstock.base import errors
from penstock.channels import ports

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Whole = Callable[[], bytes | None]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def headers_of(scope: Scope) -> dict[str, str]:
    """Header names in lower case, values as Latin-1 text; a repeated header is joined by ", " (RFC 9110, 5.3).

    Raises Rejected `bad_header` for a control character.
    """
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    names = b"\n".join([name for name, _ in headers]).decode("latin-1").lower().split("\n")
    text = b"\n".join([value for _, value in headers]).decode("latin-1")
    values = text.split("\n")
    if len(names) == len(values) == len(headers) and not _CONTROL.search(text):
        found = dict(zip(names, values, strict=True))
        if len(found) == len(headers):
            return found
    return _odd_headers(headers)


def _odd_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """`headers_of` where a header is repeated, or holds what it must not."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if "\n" in value or _CONTROL.search(value):
            raise errors.Rejected("bad_header", "a header holds a control character", field=_printable(name))
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _printable(name: str) -> str:
    return "".join(character for character in name if character.isascii() and character.isprintable())[:64]


class Crowd:
    """How many requests of one account are handled at once: a flood of one does not use up what others need."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._running: dict[str, int] = {}

    def enter(self, account: str) -> None:
        """Take a place; `leave` gives it back. Raises Unavailable `account_busy` when there is none."""
        running = self._running.get(account, 0)
        if running >= self._most:
            raise errors.Unavailable("account_busy", "too many requests for this account at once", after_s=1.0)
        self._running[account] = running + 1

    def leave(self, account: str) -> None:
        """Give the place back."""
        left = self._running.pop(account) - 1
        if left:
            self._running[account] = left


class Held:
    """How many bytes of bodies this process holds at once, whoever sends them and however slowly."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes, self._bytes = most_bytes, 0

    def share(self) -> "Share":
        """A share for one request, empty at first."""
        return Share(self)

    def take(self, size: int) -> None:
        """Raises Unavailable `bodies_busy` when there is no room."""
        if self._bytes + size > self._most_bytes:
            raise errors.Unavailable("bodies_busy", "too much is being received at once", after_s=1.0)
        self._bytes += size

    def free(self, size: int) -> None:
        """Make room."""
        self._bytes -= size


class Share:
    """What one request holds; `free` it in the end."""

    __slots__ = ("_bytes", "_held")

    def __init__(self, held: Held) -> None:
        self._held, self._bytes = held, 0

    def take(self, size: int) -> None:
        """Hold more. Raises Unavailable `bodies_busy`."""
        self._held.take(size)
        self._bytes += size

    def free(self) -> None:
        """Hold nothing any more."""
        self._held.free(self._bytes)
        self._bytes = 0


def _nobody_counts(_: int) -> None:
    """For bodies that must be empty."""


async def read_body(
    receive: Receive,
    headers: dict[str, str],
    *,
    limit_bytes: int,
    deadline_s: float,
    take: Callable[[int], None] = _nobody_counts,
    whole: Whole | None = None,
) -> bytes:
    """The body; `take` hears of each piece before it is kept, and may refuse it (see `Held`).

    `whole`, where the server offers it, gives a body that is here already: then there is no clock to set.

    Raises Rejected: 413 as soon as it is or says it is over the limit, 408 when it is slow, 400.
    """
    length = headers.get("content-length", "")
    if length:
        if not (length.isascii() and length.isdigit()):
            raise errors.Rejected("bad_length", "content-length must be a number", field="content-length")
        # Compared by digits first: a length of a million digits is not worth a number.
        if len(length.lstrip("0")) > 12 or int(length) > limit_bytes:
            raise _too_large(limit_bytes)
    if whole is not None and (body := whole()) is not None:
        if len(body) > limit_bytes:
            raise _too_large(limit_bytes)
        take(len(body))
        return body
    try:
        async with asyncio.timeout(deadline_s):
            return await _collect(receive, limit_bytes, take)
    except TimeoutError:
        raise errors.Rejected(
            "slow_body", f"the body did not arrive within {deadline_s:g} s", status=408, field="body"
        ) from None


async def _collect(receive: Receive, limit_bytes: int, take: Callable[[int], None]) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise errors.Rejected("cut_short", "the connection ended before the body did", field="body")
        chunk: bytes = event.get("body", b"")
        size += len(chunk)
        if size > limit_bytes:
            raise _too_large(limit_bytes)
        take(len(chunk))
        chunks.append(chunk)
        if not event.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(limit_bytes: int) -> errors.Rejected:
    return errors.Rejected("body_too_large", f"a body may have at most {limit_bytes} bytes", status=413, field="body")


def request_of(scope: Scope, headers: dict[str, str], body: bytes, received_at: datetime) -> ports.WebhookRequest:
    """The request as the services want it."""
    return ports.WebhookRequest(
        method=scope["method"],
        path=scope["path"],
        query=scope.get("query_string", b"").decode("latin-1"),
        headers=headers,
        body=body,
        received_at=received_at,
    )
