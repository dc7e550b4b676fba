"""The connection of the control plane: nats-py, made to ask again for ever and to fail what will never be answered.

nats-py reconnects by itself, and that is used. But it closes for good on some errors of the server, and gives up
nothing that waits for an answer. What people send travels on a connection of its own (`spine.plane`).
"""

import asyncio
import base64
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import nats.errors
from nats.aio.client import Client, Srv
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from penstock.base import errors, tasks, telemetry
from penstock.spine.adapters import nats_replies
from penstock.spine.plane import carrier
from penstock.spine.plane.address import Address, Signer

RECONNECT_WAIT_S: Final = 0.25
CONNECT_TIMEOUT_S: Final = 2
PING_INTERVAL_S: Final = 10
PAYLOAD_LIMIT_BYTES: Final = 1 << 20
"""What NATS takes by default; assumed until a server has said its own limit."""
UNSENT_LIMIT_BYTES: Final = 8 << 20
FLUSH_TIMEOUT_S: Final = 5.0
WATCH_S: Final = 3.0
HANG_UP_S: Final = 3.0

_log = telemetry.logger("spine.nats")


class Connection(Client):
    """nats-py's client, with what it lacks: nkeys by a signer of ours, and TLS that cannot be talked out of."""

    _secure = False

    def identify(self, address: Address) -> None:
        """Be the user of this nkey, and say nothing in clear where TLS is asked for: nats-py has no word for either."""
        signer = address.credentials.signer
        self._public_nkey = signer.public_key if signer else None
        self._secure = address.tls is not None

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        if self._secure and initial_connection:
            if not info.get("tls_required") and not info.get("tls_available"):
                raise nats.errors.Error("nats: the server does not speak TLS")
            info["tls_required"] = True
        await super()._process_info(info, initial_connection=initial_connection)

    async def _connect_to_server(self, s: Srv) -> None:
        # nats-py forgets the socket of an attempt that failed, and of one whose TLS never said goodbye.
        left = getattr(self._transport, "_bare_io_writer", None)
        if left is not None:
            left.transport.abort()
        await super()._connect_to_server(s)


class Link:
    """The connection. `ready` is set while a server answers."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.client = Connection()
        self.ready = asyncio.Event()
        self.closed = False
        self._replies = nats_replies.Replies(address.inbox_prefix)
        self._tasks = tasks.Tasks()
        self._told = False
        self._refused: asyncio.Future[str] | None = None
        self.payload_limit_bytes = PAYLOAD_LIMIT_BYTES

    async def open(self, *, wait_s: float | None = None) -> None:
        """Connect, trying until it works or `wait_s` seconds are over.

        Raises Rejected `nats_auth` for credentials that the server refuses, Unavailable `nats_unreachable` when time is
        over.
        """
        self._refused = asyncio.get_running_loop().create_future()
        connecting = asyncio.create_task(self._connect(), name="nats connect")
        try:
            await asyncio.wait({connecting, self._refused}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
            if connecting.done():
                connecting.result()
                self._tasks.forever("nats watch", self._watch)
                return
            if self._refused.done():
                raise errors.Rejected(
                    "nats_auth",
                    f"NATS at {self.address} refuses the credentials",
                    hint="Check the user and password (or token, or nkey) of PENSTOCK_NATS_URL.",
                    status=401,
                )
            raise errors.Unavailable(
                "nats_unreachable", f"NATS at {self.address} does not answer", hint="Is the server running?"
            )
        finally:
            self._refused = None
            if not self.ready.is_set():
                # Hanging up calls `on_closed`, which would begin again in a task that nobody stops.
                self.closed = True
                connecting.cancel()
                await asyncio.gather(connecting, return_exceptions=True)
                await _hang_up(self.client)

    def open_later(self) -> None:
        """Connect in the background, however long it takes; what the server refuses is logged."""
        self._tasks.once("nats connect", self._connect_again())
        self._tasks.forever("nats watch", self._watch)

    async def _connect(self) -> None:
        """Build a client and wait, however long, until it has connected."""
        client = self.client = Connection()

        async def on_error(error: Exception) -> None:
            self._on_error(error)

        async def on_disconnected() -> None:
            await self._lost(client)

        async def on_reconnected() -> None:
            carrier.reconnects.inc()
            await self._found(client)

        async def on_closed() -> None:
            if client is self.client and not self.closed and self._refused is None:
                await self._begin_again(client)

        credentials = self.address.credentials
        client.identify(self.address)
        await client.connect(
            list(self.address.servers),
            user=credentials.user or None,
            password=credentials.password or None,
            token=credentials.token or None,
            signature_cb=None if credentials.signer is None else _signature(credentials.signer),
            tls=self.address.tls,
            tls_handshake_first=self.address.tls_first,
            inbox_prefix=self.address.inbox_prefix,
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

    async def _begin_again(self, client: Connection) -> None:
        """Leave a client that will not come back by itself, and make another one."""
        await self._lost(client)
        self.client = Connection()
        self._tasks.once("nats hang up", _hang_up(client))
        self._tasks.once("nats connect again", self._connect_again())

    async def _connect_again(self) -> None:
        attempt = 0
        while not self.closed:
            attempt += 1
            try:
                await self._connect()
                return
            except (nats.errors.Error, OSError) as error:
                self._on_error(error)
            await asyncio.sleep(tasks.backoff_s(attempt))

    async def _watch(self) -> None:
        """Notice a client that knows that its connection is lost and hangs while it closes the dead socket."""
        client = self.client
        await asyncio.sleep(WATCH_S)
        if client is self.client and client.is_reconnecting and self.ready.is_set():
            _log.warning("nats client hangs", server=str(self.address))
            await self._begin_again(client)

    def _on_error(self, error: Exception) -> None:
        text = str(error).lower()
        if "authorization violation" in text and self._refused is not None and not self._refused.done():
            self._refused.set_result(text)
        if "permissions violation" in text or not self._told:
            self._told = True
            _log.warning("nats", server=str(self.address), error=f"{type(error).__name__}: {error}")

    async def _found(self, client: Connection) -> None:
        if client is not self.client or self.closed:
            return
        await subscribe(client, self._replies.renew(), self._replies.receive)
        self.payload_limit_bytes = client.max_payload
        self._told = False
        self.ready.set()
        _log.info("nats connected", server=str(self.address))

    async def _lost(self, client: Connection) -> None:
        if client is not self.client:
            return
        self.ready.clear()
        self._replies.fail("disconnected", "the connection to NATS was lost")

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

    async def barrier(self, timeout_s: float) -> None:
        """Return when the server has dealt with everything written so far, and its answers have arrived.

        A message to ourselves: nats-py's `flush` may overtake what was written before. Raises Unavailable.
        """
        token, heard = self._replies.expect(timeout_s)
        try:
            await self.send(f"{self._replies.inbox}.{token}", b"")
            await heard
        finally:
            self._replies.forget(token)

    async def close(self) -> None:
        """Flush and hang up."""
        if self.closed:
            return
        self.closed = True
        await self._tasks.stop()
        if self.ready.is_set():
            with contextlib.suppress(errors.Unavailable):
                await self.barrier(2.0)
        self.ready.clear()
        self._replies.fail("spine_closed", "the connection to NATS was closed")
        await _hang_up(self.client)


async def _hang_up(client: Connection) -> None:
    # nats-py tries to write what is left, to a connection that may be gone (which uvloop calls a RuntimeError), and
    # waits for its socket to close.
    with contextlib.suppress(nats.errors.Error, OSError, TimeoutError, RuntimeError):
        async with asyncio.timeout(HANG_UP_S):
            await client.close()


def _signature(signer: Signer) -> Callable[[str], bytes]:
    return lambda nonce: base64.b64encode(signer.sign(nonce.encode()))


def status(message: Msg) -> str:
    """The three digits of a message that is a status of the server and nothing else; empty for any other."""
    if message.data or not message.headers:
        return ""
    return message.headers.get("Status", "")


async def subscribe(
    client: Connection, pattern: str, receive: Callable[[Msg], Awaitable[None]], *, queue: str = ""
) -> Subscription:
    """Subscribe on one client; `receive` must be a coroutine function."""
    return await client.subscribe(pattern, queue, receive)  # pyright: ignore[reportUnknownMemberType]
