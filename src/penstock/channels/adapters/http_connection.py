"""One HTTP/1.1 connection that is asked one thing at a time; called by asyncio and by the parser.

As soon as a status has come, it is the answer: a body that breaks off afterwards does not make it unknown.
"""

import asyncio
import dataclasses
import select
import time
from collections.abc import Mapping
from typing import Final, cast

import httptools

from penstock.base import errors
from penstock.channels import ports

BODY_BYTES: Final = 64 * 1024
"""Bytes of an answer's body that are read unless told otherwise; beyond them the connection is ended, it is dropped."""

HEAD_BYTES: Final = 64 * 1024
"""Bytes of an answer's head; beyond them the answer is nonsense."""


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """A status, headers by lower-case name, and the body: empty when it was too long or broke off."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


class Connection(asyncio.Protocol):
    """One connection. `used_s`: when it was last used, on the monotonic clock; `body_bytes`: see BODY_BYTES."""

    def __init__(self, body_bytes: int = BODY_BYTES) -> None:
        self._most_bytes = body_bytes
        self.used_s = time.monotonic()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiting: asyncio.Future[Answer] | None = None
        self._head_bytes = 0
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0

    @property
    def reusable(self) -> bool:
        """Whether another request may be written: the other side has neither said anything unasked nor hung up.

        The socket is asked itself, because the event loop may not have heard yet; that spares most of the requests
        whose fate would be unknown.
        """
        if self._transport is None or self._waiting is not None or self._transport.is_closing():
            return False
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket"), select.POLLIN)
        return not poll.poll(0)

    async def exchange(self, request: bytes, timeout_s: float) -> Answer:
        """Write a request and wait for its answer. Raises Ambiguous when none comes: it may have been read."""
        if self._transport is None:
            raise errors.Unavailable("closed", "the connection was closed before the request was written")
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[Answer] = loop.create_future()
        self._waiting = waiting
        self._status, self._head_bytes = 0, 0
        timer = loop.call_later(max(0.0, timeout_s), self._end, "no_answer", "there was no answer in time")
        self._transport.write(request)
        try:
            return await waiting
        except asyncio.CancelledError:
            self._waiting = None
            self.close()  # an answer that comes later belongs to nobody
            raise
        finally:
            timer.cancel()

    def close(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Ended by whichever side."""
        del exc
        self._transport = None
        self._end("no_answer", "the connection ended before an answer came")

    def data_received(self, data: bytes) -> None:
        """Feed the parser, which calls the `on_` methods."""
        if self._waiting is None:
            self.close()  # nobody asked
            return
        if not self._status:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._end("bad_answer", "the answer is not HTTP")
        if not self._status and self._head_bytes > HEAD_BYTES:
            self._end("bad_answer", f"the head of the answer is longer than {HEAD_BYTES} bytes")

    def on_message_begin(self) -> None:
        """A response begins: the answer, or an interim one before it."""
        self._headers, self._body, self._body_bytes = {}, [], 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is whole; interim responses (1xx) are not answers."""
        status = self._parser.get_status_code()
        if status >= 200:
            self._status = status

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._body_bytes += len(body)
        if self._body_bytes > self._most_bytes:
            self._end("", "")
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """The response is whole."""
        if self._status and self._waiting is not None:
            self._settle(Answer(self._status, self._headers, b"".join(self._body)))
            if not self._parser.should_keep_alive():
                self.close()

    def _end(self, code: str, detail: str) -> None:
        """No more will be read: answer with the status if there is one, else it is unknown; then end the connection."""
        if self._waiting is not None:
            if self._status:
                self._settle(Answer(self._status, self._headers))
            else:
                hint = "The receiver may have taken it."
                waiting, self._waiting = self._waiting, None
                if not waiting.done():
                    waiting.set_exception(ports.Ambiguous(code, detail, hint=hint))
        self.close()

    def _settle(self, answer: Answer) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)
