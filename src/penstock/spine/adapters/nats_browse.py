"""Reading a stream without leaving anything behind: an ephemeral consumer that is made anew after every outage.

The consumer acknowledges nothing and forgets itself; the position is kept here, so that a new one goes on exactly
behind the last message that was read (NATS calls this an ordered consumer).
"""

import asyncio
import contextlib
import secrets
from typing import Any, Final

import nats.errors
from nats.aio.msg import Msg

from penstock.base import errors, tasks
from penstock.spine.adapters import nats_consume, nats_policies, nats_pull
from penstock.spine.adapters.nats_calls import Calls

WINDOW: Final = 256
INACTIVE_S: Final = 30.0


class OrderedReader:
    """Reads what one filter lets through, in order, without gap or repetition, across every outage."""

    def __init__(self, calls: Calls, stream: str, filter: str) -> None:
        self._calls, self._stream, self._filter = calls, stream, filter
        self._position = 0
        self._name = ""
        self._arrived: asyncio.Queue[Msg | None] = asyncio.Queue()
        self._puller: nats_pull.Puller | None = None

    async def open(self, *, after: int | None) -> None:
        """Begin behind a sequence; None: behind the last message there is now. Raises Rejected `no_stream`."""
        await self._calls.link.add(self)
        last = (await self._calls.stream_state(self._stream))["last_seq"]
        self._position = last if after is None else min(after, last)
        await self._make({"deliver_policy": "by_start_sequence", "opt_start_seq": self._position + 1})

    async def open_latest(self) -> int:
        """Begin with the latest message of every subject; returns how many those are."""
        await self._calls.link.add(self)
        return await self._make({"deliver_policy": "last_per_subject"})

    async def next(self) -> nats_consume.NatsDelivery:
        """The next message, however long it takes."""
        while True:
            message = await self._arrived.get()
            if message is None:
                await self._reopen()
                continue
            if self._puller is not None:
                await self._puller.done()
            delivery = nats_consume.NatsDelivery(message, None)
            if delivery.sequence > self._position:
                self._position = delivery.sequence
                return delivery

    async def close(self) -> None:
        """Remove the consumer that was made here, and nothing else."""
        self._calls.link.remove(self)
        puller, self._puller = self._puller, None
        if puller is not None:
            await puller.close()
        await self._remove()

    async def attach(self) -> None:
        """A new connection: the reader makes a new consumer when it gets there."""

    async def detach(self) -> None:
        """The connection is gone."""
        self._lost("disconnected")

    def _lost(self, _reason: str) -> None:
        self._arrived.put_nowait(None)

    async def _reopen(self) -> None:
        """Go on behind the last message read; from the start when the stream was lost and begins again."""
        attempt = 0
        while True:
            attempt += 1
            try:
                await self._remove()
                state = await self._calls.stream_state(self._stream)
                if state["last_seq"] < self._position:
                    self._position = 0
                await self._make({"deliver_policy": "by_start_sequence", "opt_start_seq": self._position + 1})
                return
            except (errors.Unavailable, nats.errors.Error) as error:
                if isinstance(error, errors.Unavailable) and error.code == "spine_closed":
                    raise
                await asyncio.sleep(tasks.backoff_s(attempt, first_s=0.05, most_s=5.0))

    async def _make(self, start: dict[str, Any]) -> int:
        if self._puller is not None:
            await self._puller.close()
        # A connection that is lost from here on is told to this queue.
        arrived: asyncio.Queue[Msg | None] = asyncio.Queue()
        self._arrived = arrived
        self._name = f"browse_{secrets.token_hex(8)}"
        config = {
            "name": self._name,
            "ack_policy": "none",
            "filter_subject": self._filter,
            "inactive_threshold": nats_policies.nanoseconds(INACTIVE_S),
            "mem_storage": True,
            "num_replicas": 1,
            **start,
        }
        made = await self._calls.create_consumer(self._stream, config)
        self._puller = nats_pull.Puller(
            self._calls.link,
            (self._stream, self._name),
            arrived.put_nowait,
            window=WINDOW,
            lost=lambda _: arrived.put_nowait(None),
        )
        await self._puller.start()
        return int(made.get("num_pending", 0))

    async def _remove(self) -> None:
        name, self._name = self._name, ""
        if name and self._calls.link.ready.is_set():
            with contextlib.suppress(errors.PenstockError):
                await self._calls.api(f"CONSUMER.DELETE.{self._stream}.{name}", timeout_s=2.0)
