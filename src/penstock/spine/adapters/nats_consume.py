"""Deliveries of a durable consumer over NATS: pulled, leased, settled, and asked for anew after every outage."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec
import nats.errors
from nats.aio.msg import Msg

from penstock.base import errors, tasks, telemetry
from penstock.spine import consumer, ports
from penstock.spine.adapters import nats_link, nats_policies, nats_pull

ACK: Final = b"+ACK"
NAK: Final = b"-NAK"
TERMINATE: Final = b"+TERM"
EXTEND: Final = b"+WPI"

_NOTHING: Final[Mapping[str, str]] = {}
_log = telemetry.logger("spine.nats")

Settle = Callable[[str, bytes, bool], Awaitable[None]]
"""Say something about a delivery: its reply subject, the words, and whether that was the last word."""


class NatsDelivery:
    """One message and its lease. What the server knows about it is in its reply subject, read when asked for.

    `$JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.<consumer sequence>.<time>.<pending>`, or with
    `<domain>.<account>` before the stream. `settle` is None for a browsed message: there is nothing to settle.
    """

    __slots__ = ("_message", "_parts", "_settle", "_settled")

    def __init__(self, message: Msg, settle: Settle | None) -> None:
        self._message, self._settle, self._settled = message, settle, settle is None
        self._parts: list[str] | None = None

    def _part(self, number: int) -> str:
        if self._parts is None:
            parts = self._message.reply.split(".")
            self._parts = parts[2:] if len(parts) == 9 else parts[4:]
        return self._parts[number]

    @property
    def stream(self) -> str:
        """The stream it is stored in."""
        return self._part(0)

    @property
    def consumer(self) -> str:
        """The durable it was handed to; empty when browsed."""
        return self._part(1) if self._settle else ""

    @property
    def deliveries(self) -> int:
        """How often this consumer was handed it, this time included."""
        return int(self._part(2))

    @property
    def sequence(self) -> int:
        """Its position in the stream."""
        return int(self._part(3))

    @property
    def session(self) -> int:
        """Grows when an older message may be in other hands."""
        return 1

    @property
    def at(self) -> datetime:
        """When the stream stored it, in UTC."""
        return datetime.fromtimestamp(int(self._part(5)) / nats_policies.NANOSECONDS, UTC)

    @property
    def pending(self) -> int:
        """How many more the consumer has to give after this one."""
        return int(self._part(6))

    @property
    def subject(self) -> str:
        """The subject it was published under."""
        return self._message.subject

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers, names as they were sent."""
        return self._message.headers or _NOTHING

    @property
    def body(self) -> bytes:
        """Its body."""
        return self._message.data

    async def ack(self) -> None:
        """Never deliver it to this consumer again."""
        await self._say(ACK, last=True)

    async def retry(self, delay_s: float) -> None:
        """Deliver it again after `delay_s`."""
        delay = {"delay": nats_policies.nanoseconds(delay_s)} if delay_s > 0 else None
        await self._say(NAK + b" " + msgspec.json.encode(delay) if delay else NAK, last=True)

    async def terminate(self) -> None:
        """Never deliver it to this consumer again, although it was not handled."""
        await self._say(TERMINATE, last=True)

    async def extend(self) -> None:
        """Renew the lease."""
        await self._say(EXTEND, last=False)

    async def _say(self, words: bytes, *, last: bool) -> None:
        if self._settled or self._settle is None:
            return
        self._settled = last
        await self._settle(self._message.reply, words, last)


class NatsSubscription:
    """This process's share of one durable.

    `restore` makes the durable again after somebody deleted it; it is told when the last message seen was stored.
    """

    def __init__(
        self,
        link: nats_link.Link,
        policy: consumer.ConsumerPolicy,
        receive: Callable[[ports.Delivery], None],
        *,
        window: int,
        restore: Callable[[datetime | None], Awaitable[None]],
    ) -> None:
        self._link, self._policy, self._receive, self._restore = link, policy, receive, restore
        self._puller = nats_pull.Puller(link, (policy.stream, policy.name), self._take, window=window, lost=self._lost)
        self._latest: NatsDelivery | None = None
        self._tasks = tasks.Tasks()
        self._closed = False

    def _take(self, message: Msg) -> None:
        delivery = self._latest = NatsDelivery(message, self._settle)
        try:
            self._receive(delivery)
        except Exception as error:  # noqa: BLE001 - one receiver's bug must not end the connection's reader
            _log.error("receiver failed", consumer=self._policy.name, exc_info=error)

    async def _settle(self, reply: str, words: bytes, last: bool) -> None:
        try:
            await self._link.send(reply, words)
        except errors.Unavailable as error:
            # Nothing is lost: the lease ends and the server delivers it again.
            _log.info("settling lost", consumer=self._policy.name, code=error.code)
        finally:
            if last:
                await self._puller.done()

    async def attach(self) -> None:
        """A connection stands: ask again."""
        await self._puller.start()

    async def detach(self) -> None:
        """The connection is gone; what was handed over may still be settled after the next one."""
        await self._puller.stop()

    def _lost(self, reason: str) -> None:
        self._tasks.once(f"restore {self._policy.name}", self._recover(reason))

    async def _recover(self, reason: str) -> None:
        """Make sure that the durable exists, then ask again on a fresh inbox; until it works."""
        _log.warning("consumer does not answer", consumer=self._policy.name, reason=reason)
        attempt = 0
        while not self._closed:
            attempt += 1
            await asyncio.sleep(tasks.backoff_s(attempt, first_s=0.05, most_s=5.0))
            try:
                await self._restore(self._latest.at if self._latest else None)
                await self.attach()
                return
            except (errors.PenstockError, nats.errors.Error, OSError, RuntimeError) as error:
                _log.warning("consumer is still away", consumer=self._policy.name, error=f"{error}")

    def pause(self) -> None:
        """Ask for nothing more; what was asked for may still arrive."""
        self._puller.pause()

    def resume(self) -> None:
        """Ask again."""
        self._puller.resume()

    async def close(self) -> None:
        """Stop receiving; what was not handed over goes back at once."""
        self._closed = True
        self._link.remove(self)
        await self._tasks.stop()
        await self._puller.close()
