"""Posts over kept-alive HTTP/1.1 connections and knows whether a request that failed had been written.

That difference decides whether a message may be sent again without asking: general clients blur it, and cost several
times the CPU. No redirects, cookies or proxies.
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Final

from penstock.base import errors
from penstock.channels.adapters import endpoint as endpoints
from penstock.channels.adapters import http_connection

CONNECT_S: Final = 5.0
"""Seconds to resolve a name, connect and agree on TLS."""

IDLE_S: Final = 4.0
"""Seconds that a connection is kept for reuse: less than the five after which common servers hang up."""

CONNECTIONS: Final = 128
"""Connections to one host and port; more posts wait."""


class _Origin:
    """One host and port: who may connect, and which connections are free."""

    def __init__(self) -> None:
        self.slots = asyncio.Semaphore(CONNECTIONS)
        self.users = 0
        self.idle: list[http_connection.Connection] = []
        self.open = True

    def take(self) -> http_connection.Connection | None:
        """The connection used last, if it is still good."""
        oldest_s = time.monotonic() - IDLE_S
        while self.idle:
            connection = self.idle.pop()
            if connection.reusable and connection.used_s >= oldest_s:
                return connection
            connection.close()
        return None

    def keep(self, connection: http_connection.Connection) -> None:
        """Put a connection back, or end it when it cannot be used again."""
        if self.open and connection.reusable:
            connection.used_s = time.monotonic()
            self.idle.append(connection)
        else:
            connection.close()

    def close_idle(self, used_before_s: float) -> None:
        """End what has been free since then."""
        stale = [connection for connection in self.idle if connection.used_s < used_before_s]
        self.idle = [connection for connection in self.idle if connection.used_s >= used_before_s]
        for connection in stale:
            connection.close()


class HttpPoster:
    """A pool of connections, by host and port. `timeout_s` bounds one post as a whole.

    `answer_bytes`: a longer body of an answer is dropped, for platforms that answer with more than they are asked.
    `tls` is a context for tests and private authorities; the system's authorities are trusted by default.
    """

    def __init__(
        self,
        *,
        timeout_s: float = 15.0,
        tls: ssl.SSLContext | None = None,
        answer_bytes: int = http_connection.BODY_BYTES,
    ) -> None:
        self._timeout_s = timeout_s
        self._answer_bytes = answer_bytes
        self._tls = tls
        self._origins: dict[tuple[bool, str, int], _Origin] = {}
        self._sweep: asyncio.TimerHandle | None = None

    async def post(
        self, endpoint: endpoints.Endpoint, headers: Mapping[str, str], body: bytes
    ) -> http_connection.Answer:
        """Send one POST and return its answer; see `request`."""
        return await self.request("POST", endpoint, headers, body)

    async def request(
        self, method: str, endpoint: endpoints.Endpoint, headers: Mapping[str, str], body: bytes
    ) -> http_connection.Answer:
        """Send one request and return its answer, whatever its status.

        Raises Unavailable when nothing was written, Ambiguous when the request was written and no status came back.
        """
        deadline_s = time.monotonic() + self._timeout_s
        async with self._origin(endpoint, deadline_s) as origin:
            connection = origin.take() or await self._connect(endpoint, deadline_s)
            try:
                return await connection.exchange(
                    _encode(method, endpoint, headers, body), deadline_s - time.monotonic()
                )
            finally:
                origin.keep(connection)

    async def close(self) -> None:
        """Hang up every free connection; those in use end with their request."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        origins, self._origins = self._origins, {}
        for origin in origins.values():
            origin.open = False
            origin.close_idle(float("inf"))
        await asyncio.sleep(0)  # one turn of the loop, in which the sockets close

    @contextlib.asynccontextmanager
    async def _origin(self, endpoint: endpoints.Endpoint, deadline_s: float) -> AsyncGenerator[_Origin]:
        """A place among the connections to a host; waits when all are in use."""
        key = (endpoint.secure, endpoint.host, endpoint.port)
        origin = self._origins.get(key)
        if origin is None:
            origin = self._origins[key] = _Origin()
        origin.users += 1
        try:
            await _acquire(origin.slots, endpoint, deadline_s)
            try:
                yield origin
            finally:
                origin.slots.release()
        finally:
            origin.users -= 1
            if self._sweep is None and origin.open:
                self._sweep = asyncio.get_running_loop().call_later(IDLE_S, self._close_stale)

    async def _connect(self, endpoint: endpoints.Endpoint, deadline_s: float) -> http_connection.Connection:
        loop = asyncio.get_running_loop()
        if endpoint.secure and self._tls is None:
            self._tls = ssl.create_default_context()
        tls = self._tls if endpoint.secure else None
        try:
            async with asyncio.timeout(max(0.0, min(CONNECT_S, deadline_s - time.monotonic()))):
                _, connection = await loop.create_connection(
                    lambda: http_connection.Connection(self._answer_bytes), endpoint.host, endpoint.port, ssl=tls
                )
        except ssl.SSLError:
            raise _unavailable("tls_failed", f"{endpoint} shows no certificate that we trust", 30.0) from None
        except TimeoutError:
            raise _unavailable("connect_timeout", f"{endpoint} did not accept a connection in time", 5.0) from None
        except OSError as error:
            raise _unavailable("unreachable", f"{endpoint} cannot be reached ({type(error).__name__})", 2.0) from None
        return connection

    def _close_stale(self) -> None:
        """Close what has been free for too long, forget hosts that nobody uses, and look again while any is left."""
        self._sweep = None
        used_before_s = time.monotonic() - IDLE_S
        for key, origin in list(self._origins.items()):
            origin.close_idle(used_before_s)
            if not origin.idle and not origin.users:
                del self._origins[key]
        if self._origins:
            self._sweep = asyncio.get_running_loop().call_later(IDLE_S, self._close_stale)


async def _acquire(slots: asyncio.Semaphore, endpoint: endpoints.Endpoint, deadline_s: float) -> None:
    if not slots.locked():
        await slots.acquire()
        return
    try:
        async with asyncio.timeout(max(0.0, deadline_s - time.monotonic())):
            await slots.acquire()
    except TimeoutError:
        raise _unavailable("too_many_sends", f"all {CONNECTIONS} connections to {endpoint} are busy", 1.0) from None


def _encode(method: str, endpoint: endpoints.Endpoint, headers: Mapping[str, str], body: bytes) -> bytes:
    # Method and values come from signatures, tokens and constants: none can hold a line break.
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    length = f"content-length: {len(body)}\r\n\r\n"
    head = f"{method} {endpoint.target} HTTP/1.1\r\nhost: {endpoint.authority}\r\n{lines}{length}"
    return head.encode("ascii") + body


def _unavailable(code: str, detail: str, after_s: float) -> errors.Unavailable:
    return errors.Unavailable(code, detail, hint="The receiver has to be mended or waited for.", after_s=after_s)
