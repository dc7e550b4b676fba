"""Reading a stream without leaving anything behind: an ephemeral consumer that is made anew after every outage.

The consumer acknowledges nothing and forgets itself; the position is kept here, so that a new one goes on exactly
behind the last message that was read (NATS calls this an ordered consumer).
"""

import asyncio
import contextlib
import secrets
from typing import Any, Final

from penstock.base import errors, tasks
from penstock.spine.adapters import nats_policies
from penstock.spine.adapters.nats_calls import Calls
from penstock.spine.plane import pull
from penstock.spine.plane.delivery import Delivery
from penstock.spine.plane.link import Link
from penstock.spine.plane.message import Message

WINDOW: Final = 256
INACTIVE_S: Final = 30.0


class OrderedReader:
    """Reads what one filter lets through, in order, without gap or repetition, across every outage."""

    def __init__(self, calls: Calls, link: Link, stream: str, filter: str) -> None:
        self._calls, self._link, self._stream, self._filter = calls, link, stream, filter
        self._position = 0
        self._name = ""
        self._arrived: asyncio.Queue[Message | None] = asyncio.Queue()
        self._puller: pull.Puller | None = None
        self._unfollow = link.on_down(lambda _: self._lost("disconnected"))

    async def open(self, *, after: int | None) -> None:
        """Begin behind a sequence; None: behind the last message there is now. Raises Rejected `no_stream`."""
        last = (await self._calls.stream_state(self._stream))["last_seq"]
        self._position = last if after is None else min(after, last)
        await self._make({"deliver_policy": "by_start_sequence", "opt_start_seq": self._position + 1})

    async def open_latest(self) -> int:
        """Begin with the latest message of every subject; returns how many those are."""
        return await self._make({"deliver_policy": "last_per_subject"})

    @property
    def position(self) -> int:
        """The sequence up to which all was read."""
        return self._position

    async def next(self) -> Delivery:
        """The next message, however long it takes."""
        while True:
            message = await self._arrived.get()
            if message is None:
                await self._reopen()
                continue
            if self._puller is not None:
                self._puller.done()
            delivery = Delivery(message, None)
            if delivery.sequence > self._position:
                self._position = delivery.sequence
                return delivery

    async def close(self) -> None:
        """Remove the consumer that was made here, and nothing else."""
        self._unfollow()
        puller, self._puller = self._puller, None
        if puller is not None:
            await puller.close()
        await self._remove()

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
            except errors.Unavailable as error:
                if error.code == "spine_closed":
                    raise
                await asyncio.sleep(tasks.backoff_s(attempt, first_s=0.05, most_s=5.0))

    async def _make(self, start: dict[str, Any]) -> int:
        if self._puller is not None:
            await self._puller.close()
        # A connection that is lost from here on is told to this queue.
        arrived: asyncio.Queue[Message | None] = asyncio.Queue()
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
        self._puller = pull.Puller(
            self._link,
            (self._stream, self._name),
            lambda message, _: arrived.put_nowait(message),
            window=WINDOW,
            lost=lambda _: arrived.put_nowait(None),
        )
        self._puller.start()
        return int(made.get("num_pending", 0))

    async def _remove(self) -> None:
        name, self._name = self._name, ""
        if name and self._calls.link.ready.is_set():
            with contextlib.suppress(errors.PenstockError):
                await self._calls.api(f"CONSUMER.DELETE.{self._stream}.{name}", timeout_s=2.0)
