"""Which connection carries us: finds a server, for ever if need be, and moves on when that one ends or wants us gone.

Servers are tried in turn, a round without success is followed by a pause that doubles, and every pause is jittered:
when a server goes down, its clients do not come to the next one all at once.
"""

import asyncio
import dataclasses
import random
from typing import Final, Protocol

from penstock.base import errors, tasks, telemetry
from penstock.spine.plane import complaint, handshake, info, pool
from penstock.spine.plane.address import Address
from penstock.spine.plane.connection import Connection
from penstock.spine.plane.message import Message
from penstock.spine.plane.subscription import Subscriptions

COMPLAINT_S: Final = 0.1
"""Complaints of one kind are written down once in this time; all are counted."""

_log = telemetry.logger("spine.plane")

reconnects = telemetry.counter(
    "penstock_spine_reconnects_total",
    meaning="The connection to NATS was lost and came back.",
    remedy="Now and then is normal. A steady rate: look at the NATS server's log and the network.",
)
complaints = telemetry.counter(
    "penstock_spine_complaints_total",
    labels=("kind",),
    meaning="The NATS server answered with an error of its protocol.",
    remedy="Read the log line 'nats complains'. Not permitted: grant it. Slow consumer: this process is overloaded.",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Timing:
    """How patient a link is, in seconds."""

    connect_s: float = 4.0
    """One server gets this long to let us in."""
    ping_s: float = 5.0
    """A server that is silent for three times as long is left."""
    herd_s: float = 0.1
    """The first attempt after a loss comes within this time."""
    first_wait_s: float = 0.05
    """The pause after the first round of attempts."""
    most_wait_s: float = 2.0
    """The longest pause between two rounds."""
    refused_wait_s: float = 10.0
    """The longest pause when servers refuse us, which lasts until somebody mends it."""
    steady_s: float = 5.0
    """A connection that ends before this counts as an attempt that failed."""
    drain_s: float = 10.0
    """How long calls in flight are waited for on a server that asked us to leave."""


class Owner(Protocol):
    """Who is told what becomes of the connections."""

    def taken(self, number: int, connection: Connection) -> None:
        """This connection, `number`, carries us from now on."""
        ...

    def left(self, number: int) -> None:
        """Connection `number` carries us no more; what was asked on it may still be answered."""
        ...

    def ended(self, number: int) -> None:
        """Connection `number` is over: no answer comes on it any more."""
        ...

    def informed(self, news: info.Info) -> None:
        """The server that carries us says what holds from now on."""
        ...

    def complained(self, said: complaint.Complaint) -> None:
        """A server answered with an error."""
        ...

    def in_flight(self, number: int) -> "list[asyncio.Future[Message]]":
        """The calls that connection `number` still owes an answer."""
        ...


class Carrier:
    """The connection that carries a link. `current` is None while none does; `number` is that of the latest."""

    def __init__(self, address: Address, subscriptions: Subscriptions, timing: Timing, owner: Owner) -> None:
        self._address, self._subscriptions, self._timing, self._owner = address, subscriptions, timing, owner
        self._pool = pool.Pool(address.servers)
        self._server: pool.Server | None = None
        self._leaving = asyncio.Event()
        self._failures = 0
        self._told = ""
        self._quiet_until: dict[complaint.Kind, float] = {}
        self._tasks = tasks.Tasks()
        self._connections: set[Connection] = set()
        self.current: Connection | None = None
        self.number = 0
        self.refused: asyncio.Future[errors.Rejected] | None = None
        """Somebody who wants to know that servers refuse us."""

    @property
    def server(self) -> str:
        """Which server that is, as `host:port`; empty while none does."""
        return str(self._server) if self.current is not None else ""

    def start(self) -> None:
        """Find a connection, and another one whenever it is gone."""
        self._tasks.forever("nats link", self._stand)

    async def stop(self) -> None:
        """Look for no connection any more, and hang up those that there are when what was written has left."""
        await self._tasks.stop()
        self._lose(self.current, self.number)
        await asyncio.gather(*(connection.close() for connection in self._connections))

    async def _stand(self) -> None:
        """Be carried by one connection, and by its successors, until one ends without."""
        loop = asyncio.get_running_loop()
        reached = await self._reach()
        while reached is not None:
            if reached[0].ended.done():
                self._failures += 1
                reached = await self._reach()
                continue
            since = loop.time()
            connection = self._take(*reached)
            reached = await self._successor(connection)
            steady = loop.time() - since >= self._timing.steady_s
            self._failures = 0 if steady else self._failures + 1

    async def _reach(self, *, leaving: pool.Server | None = None) -> tuple[Connection, pool.Server]:
        """A connection to any server (but one), however long it takes."""
        timing, most_wait_s = self._timing, self._timing.most_wait_s
        if not self._failures and self.number:
            await asyncio.sleep(random.uniform(0, timing.herd_s))  # noqa: S311
        while True:
            if self._failures:
                pause_s = tasks.backoff_s(self._failures, first_s=timing.first_wait_s, most_s=most_wait_s)
                await asyncio.sleep(pause_s)
            refusal: errors.Rejected | None = None
            for server in self._pool.candidates(after=self._server):
                if server == leaving:
                    continue
                try:
                    return await self._prepared(server), server
                except errors.Rejected as error:
                    refusal = error
                    self._note(error)
                except errors.Unavailable as error:
                    self._note(error)
            self._failures += 1
            most_wait_s = timing.refused_wait_s if refusal else timing.most_wait_s
            if refusal and self.refused is not None and not self.refused.done():
                self.refused.set_result(refusal)

    async def _prepared(self, server: pool.Server) -> Connection:
        """A connection that knows our subscriptions. Raises as `handshake.connect` does."""
        timing = self._timing
        connection = await handshake.connect(
            server, self._address, self._subscriptions.receivers, timeout_s=timing.connect_s
        )
        try:
            connection.on_complaint = lambda said: self._complained(server, said)
            connection.on_info = lambda news: self._informed(connection, server, news)
            self._subscriptions.tell(connection)
            self._learn(connection, server)
            async with asyncio.timeout(timing.connect_s):
                await connection.ping()
        except BaseException as error:
            connection.abort()
            if isinstance(error, TimeoutError):
                raise errors.Unavailable("nats_unreachable", f"NATS at nats://{server} does not answer") from None
            raise
        return connection

    def _take(self, connection: Connection, server: pool.Server) -> Connection:
        """Be carried by this connection from now on."""
        self.number += 1
        number, old, old_number = self.number, self.current, self.number - 1
        if self.number > 1:
            reconnects.inc()
        self._told = ""
        self._leaving.clear()
        self._connections.add(connection)
        self.current, self._server = connection, server
        self._subscriptions.move(connection)
        connection.keep_alive(self._timing.ping_s)
        connection.ended.add_done_callback(lambda _: self._connections.discard(connection))
        _log.info("nats connected", server=str(server), connection=number)
        if old is not None:
            self._owner.left(old_number)
            self._tasks.once("nats leave", self._retire(old, old_number))
        self._informed(connection, server, connection.info)
        self._owner.taken(number, connection)
        connection.on_end = lambda: self._lose(connection, number)
        return connection

    def _lose(self, connection: Connection | None, number: int) -> None:
        """This connection is over."""
        if connection is None:
            return
        carried = connection is self.current
        if carried:
            self.current = None
            self._subscriptions.move(None)
        self._owner.ended(number)
        if carried:
            self._owner.left(number)

    async def _successor(self, connection: Connection) -> tuple[Connection, pool.Server] | None:
        """Another server's connection when this one's server asks us to leave; None when it ended before."""
        leaving = asyncio.create_task(self._leaving.wait())
        seeking: asyncio.Task[tuple[Connection, pool.Server]] | None = None
        try:
            await asyncio.wait({connection.ended, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if connection.ended.done():
                return None
            seeking = asyncio.create_task(self._reach(leaving=self._server))
            await asyncio.wait({connection.ended, seeking}, return_when=asyncio.FIRST_COMPLETED)
            return seeking.result() if seeking.done() else None
        except asyncio.CancelledError:
            if seeking is not None:
                seeking.add_done_callback(_forget)
            raise
        finally:
            leaving.cancel()
            if seeking is not None:
                seeking.cancel()
                await asyncio.wait({seeking})

    async def _retire(self, connection: Connection, number: int) -> None:
        """Leave a server without losing what it still owes us: what was sent to us, and the answers to calls."""
        self._subscriptions.leave(connection)
        try:
            async with asyncio.timeout(self._timing.drain_s):
                await connection.ping()
                if calls := self._owner.in_flight(number):
                    await asyncio.wait(calls)
        except (TimeoutError, errors.Unavailable):
            pass
        await connection.close()

    def _informed(self, connection: Connection, server: pool.Server, news: info.Info) -> None:
        self._learn(connection, server)
        if connection is not self.current:
            return
        self._owner.informed(news)
        if news.lame_duck and len(self._pool) > 1:
            _log.info("nats server asks to leave", server=str(self._server))
            self._leaving.set()

    def _learn(self, connection: Connection, server: pool.Server) -> None:
        """Take over which servers there are.

        What was said before TLS stood may be anybody's: servers named then must show the certificate of this one.
        """
        self._pool.learn(connection.info.servers, informer=server, alike=connection.informed_in_clear)

    def _complained(self, server: pool.Server, said: complaint.Complaint) -> None:
        complaints.labels(said.kind.value).inc()
        now = asyncio.get_running_loop().time()
        if now >= self._quiet_until.get(said.kind, 0.0):
            self._quiet_until[said.kind] = now + COMPLAINT_S
            _log.warning("nats complains", server=str(server), kind=said.kind.value, said=said.text)
        self._owner.complained(said)

    def _note(self, error: errors.PenstockError) -> None:
        """Say once what is wrong, and again when it is something else."""
        if self._told != error.code:
            self._told = error.code
            _log.warning("nats away", code=error.code, detail=error.detail)


def _forget(seeking: "asyncio.Task[tuple[Connection, pool.Server]]") -> None:
    """Hang up what was reached when nobody waits for it any more."""
    if not seeking.cancelled() and seeking.exception() is None:
        seeking.result()[0].abort()
