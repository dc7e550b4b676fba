"""One connection to NATS that never gives up, and what must be done anew each time it comes back.

nats-py reconnects by itself, and that is used. But it closes for good on some errors of the server, gives up nothing
that waits for an answer, and replays subscriptions to inboxes that old pull requests still fill. So this link tells
its parts when the connection is gone and when another one stands, whichever client object carries it.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol
from urllib.parse import urlsplit

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from penstock.base import errors, tasks, telemetry
from penstock.spine.adapters import nats_replies

RECONNECT_WAIT_S: Final = 0.25
CONNECT_TIMEOUT_S: Final = 2
PING_INTERVAL_S: Final = 10
UNSENT_LIMIT_BYTES: Final = 8 << 20
FLUSH_TIMEOUT_S: Final = 5.0

_log = telemetry.logger("spine.nats")

reconnects = telemetry.counter(
    "penstock_spine_reconnects_total",
    meaning="The connection to NATS was lost and came back.",
    remedy="Now and then is normal. A steady rate: look at the NATS server's log and the network.",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Address:
    """Where and as whom to connect; `str()` of it shows neither user nor password."""

    url: str
    user: str = dataclasses.field(default="", repr=False)
    password: str = dataclasses.field(default="", repr=False)
    name: str = "penstock"

    def __str__(self) -> str:
        parts = urlsplit(self.url if "://" in self.url else f"nats://{self.url}")
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


class Part(Protocol):
    """Something that lives on the connection and has to be set up again on each new one."""

    async def attach(self, client: Client) -> None:
        """A connection stands. May be called again without a `detach` when it was lost meanwhile."""
        ...

    async def detach(self) -> None:
        """The connection is gone."""
        ...


class Link:
    """The connection. `ready` is set while a server answers."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.client = Client()
        self.ready = asyncio.Event()
        self.closed = False
        self._parts: dict[Part, None] = {}
        self._replies = nats_replies.Replies()
        self._tasks = tasks.Tasks()
        self._told = False
        self._refused: asyncio.Future[str] | None = None

    async def open(self, *, wait_s: float | None = None) -> None:
        """Connect, trying until it works or `wait_s` seconds are over.

        Raises Rejected `nats_auth` for credentials that the server refuses and `nats_url` for a URL that is none;
        Unavailable `nats_unreachable` when time is over.
        """
        self._refused = asyncio.get_running_loop().create_future()
        connecting = asyncio.create_task(self._connect(), name="nats connect")
        try:
            await asyncio.wait({connecting, self._refused}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
            if connecting.done():
                connecting.result()
                return
            if self._refused.done():
                raise errors.Rejected(
                    "nats_auth",
                    f"NATS at {self.address} refuses the credentials",
                    hint="Check the user and password of PENSTOCK_NATS_URL.",
                    status=401,
                )
            raise errors.Unavailable(
                "nats_unreachable", f"NATS at {self.address} does not answer", hint="Is the server running?"
            )
        except (nats.errors.Error, ValueError) as error:
            raise errors.Rejected("nats_url", f"not an address of a NATS server: {self.address} ({error})") from None
        finally:
            self._refused = None
            if not self.ready.is_set():
                connecting.cancel()
                await asyncio.gather(connecting, return_exceptions=True)
                await self._hang_up()

    def open_later(self) -> None:
        """Connect in the background, however long it takes; what the server refuses is logged."""
        self._tasks.once("nats connect", self._connect())

    async def _connect(self) -> None:
        """Build a client and wait, however long, until it has connected."""
        client = self.client = Client()

        async def on_error(error: Exception) -> None:
            self._on_error(error)

        async def on_disconnected() -> None:
            await self._lost(client)

        async def on_reconnected() -> None:
            reconnects.inc()
            await self._found(client)

        async def on_closed() -> None:
            if client is self.client and not self.closed and self._refused is None:
                await self._lost(client)
                self._tasks.once("nats connect again", self._connect())

        await client.connect(
            self.address.url,
            user=self.address.user or None,
            password=self.address.password or None,
            name=self.address.name,
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_WAIT_S,  # type: ignore[arg-type]
            connect_timeout=CONNECT_TIMEOUT_S,
            ping_interval=PING_INTERVAL_S,
            pending_size=UNSENT_LIMIT_BYTES,
            flush_timeout=FLUSH_TIMEOUT_S,
            error_cb=on_error,
            disconnected_cb=on_disconnected,
            reconnected_cb=on_reconnected,
            closed_cb=on_closed,
        )
        await self._found(client)

    def _on_error(self, error: Exception) -> None:
        text = str(error).lower()
        if "authorization violation" in text and self._refused is not None and not self._refused.done():
            self._refused.set_result(text)
        if "permissions violation" in text or not self._told:
            self._told = True
            _log.warning("nats", server=str(self.address), error=f"{type(error).__name__}: {error}")

    async def _found(self, client: Client) -> None:
        if client is not self.client or self.closed:
            return
        await subscribe(client, self._replies.renew(), self._replies.receive)
        self._told = False
        self.ready.set()
        _log.info("nats connected", server=str(self.address))
        for part in list(self._parts):
            await self._attach(part)

    async def _lost(self, client: Client) -> None:
        if client is not self.client:
            return
        self.ready.clear()
        self._replies.fail("disconnected", "the connection to NATS was lost")
        for part in list(self._parts):
            await part.detach()

    async def add(self, part: Part) -> None:
        """Attach a part now (if connected) and after every reconnection."""
        self._parts[part] = None
        if self.ready.is_set():
            await self._attach(part)

    async def _attach(self, part: Part) -> None:
        try:
            await part.attach(self.client)
        except (nats.errors.Error, OSError, errors.Unavailable) as error:
            # The connection went away meanwhile; the next one attaches again.
            _log.info("nats part waits", error=f"{type(error).__name__}: {error}")

    def remove(self, part: Part) -> None:
        """Do not attach it any more."""
        self._parts.pop(part, None)

    async def wait_ready(self, timeout_s: float) -> None:
        """Return when connected. Raises Unavailable `disconnected` after `timeout_s`, `spine_closed` after `close`."""
        if self.closed:
            raise errors.Unavailable("spine_closed", "the connection to NATS was closed")
        if self.ready.is_set():
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self.ready.wait()
        except TimeoutError:
            raise errors.Unavailable("disconnected", f"NATS at {self.address} does not answer") from None

    async def send(
        self, subject: str, body: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Write one message; during an outage it is kept (up to 8 MiB) and written afterwards.

        Raises Unavailable when that is too much or the link was closed.
        """
        task = asyncio.current_task()
        cancellations = task.cancelling() if task else 0
        try:
            await self.client.publish(subject, body, reply, dict(headers) if headers else None)
        except nats.errors.Error as error:
            raise errors.Unavailable("disconnected", f"cannot write to NATS: {error}") from None
        # nats-py swallows a cancellation that comes while it waits for a full buffer.
        if task and task.cancelling() > cancellations:
            raise asyncio.CancelledError

    async def call(
        self, subject: str, body: bytes, *, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> Msg:
        """Send a message and wait for its one answer, which may be a status (see `status`).

        Raises Unavailable `disconnected` as soon as the connection is lost, or `timeout`.
        """
        if not self.ready.is_set() or self.closed:
            await self.wait_ready(timeout_s)
        token, answer = self._replies.expect(timeout_s)
        try:
            await self.send(subject, body, reply=f"{self._replies.inbox}.{token}", headers=headers)
            return await answer
        finally:
            self._replies.forget(token)

    async def close(self) -> None:
        """Flush and hang up."""
        if self.closed:
            return
        self.closed = True
        await self._tasks.stop()
        if self.ready.is_set():
            with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
                await self.client.flush(timeout=2)
        self.ready.clear()
        self._replies.fail("spine_closed", "the connection to NATS was closed")
        for part in list(self._parts):
            await part.detach()
        await self._hang_up()

    async def _hang_up(self) -> None:
        # nats-py tries to write what is left, to a connection that may be gone.
        with contextlib.suppress(nats.errors.Error, OSError):
            await self.client.close()


def status(message: Msg) -> str:
    """The three digits of a message that is a status of the server and nothing else; empty for any other."""
    if message.data or not message.headers:
        return ""
    return message.headers.get("Status", "")


async def subscribe(
    client: Client, pattern: str, receive: Callable[[Msg], Awaitable[None]], *, queue: str = ""
) -> Subscription:
    """Subscribe on one client; `receive` must be a coroutine function."""
    return await client.subscribe(pattern, queue, receive)  # pyright: ignore[reportUnknownMemberType]
