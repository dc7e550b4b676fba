"""Reading the chunks of one object in batches, the next one asked for while one is read, across every outage."""

import asyncio
import itertools
from typing import Final

import msgspec

from penstock.base import errors
from penstock.spine import payload
from penstock.spine.adapters import payload_upload
from penstock.spine.plane import link as links
from penstock.spine.plane.message import Message

CHUNKS: Final = 8
"""Chunks asked for at once; twice as many are held at most."""
TRY_S: Final = 5.0
PAUSE_S: Final = 0.05
_END_OF_BATCH: Final = "204"
_NOTHING: Final = "404"


class Batch:
    """What has come of one question. `ended` gets True when the server said that this is all of it."""

    def __init__(self, inbox: str) -> None:
        self.inbox = inbox
        self.chunks: list[bytes] = []
        self.last_sequence = 0
        self.pending = 0
        self.ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def hear(self, message: Message) -> None:
        """One chunk, or a status."""
        if self.ended.done():
            return
        if not message.status:
            self.chunks.append(message.body)
            self.last_sequence = int(message.headers["Nats-Sequence"])
            self.pending = int(message.headers.get("Nats-Num-Pending", "0"))
        else:
            self.ended.set_result(message.status in {_END_OF_BATCH, _NOTHING})


class Reader:
    """Reads an object from its first chunk on."""

    def __init__(self, link: links.Link, bucket: str, name: str, *, deadline_s: float) -> None:
        self._link, self._bucket, self._deadline_s = link, bucket, deadline_s
        self._subject = payload_upload.chunk_subject(bucket, name)
        self._sequence = 0
        self._inbox = f"{link.inbox}.payload.{next(_numbers)}"
        self._batch: Batch | None = None
        self._subscription = link.subscribe(f"{self._inbox}.*", self._hear)
        self._unfollow = link.on_down(self._down)
        self._ahead: asyncio.Task[Batch] | None = None

    async def next(self) -> list[bytes]:
        """The next chunks in order; none when there are no more now. Raises Unavailable when nothing moves."""
        task = self._ahead or asyncio.create_task(self._read())
        self._ahead = None
        try:
            batch = await asyncio.shield(task)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if batch.chunks:
            self._sequence = batch.last_sequence
        if batch.pending:
            self._ahead = asyncio.create_task(self._read())
        return batch.chunks

    async def aclose(self) -> None:
        """Ask for nothing more."""
        self._unfollow()
        self._subscription.close()
        if self._ahead is not None:
            self._ahead.cancel()
            await asyncio.gather(self._ahead, return_exceptions=True)

    async def _read(self) -> Batch:
        """One batch from the server; ask again, for what is missing of it, while nothing comes and there is time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._deadline_s
        while True:
            # An inbox of its own: what still comes of an earlier question is not taken for an answer to this one.
            batch = self._batch = Batch(f"{self._inbox}.{next(_numbers)}")
            try:
                await self._link.wait_connected(max(0.01, until - loop.time()))
                self._ask(batch)
                async with asyncio.timeout(TRY_S):
                    ended = await batch.ended
            except TimeoutError:
                ended = False
            except errors.Unavailable as error:
                if error.code == "spine_closed" or loop.time() >= until:
                    raise
                ended = False
            if ended or batch.chunks:
                return batch
            if loop.time() >= until:
                raise payload.bucket_away(self._bucket)
            await asyncio.sleep(PAUSE_S)

    def _ask(self, batch: Batch) -> None:
        question = {"seq": self._sequence + 1, "next_by_subj": self._subject, "batch": CHUNKS}
        self._link.publish(f"$JS.API.DIRECT.GET.OBJ_{self._bucket}", msgspec.json.encode(question), reply=batch.inbox)

    def _hear(self, message: Message) -> None:
        if self._batch is not None and message.subject == self._batch.inbox:
            self._batch.hear(message)

    def _down(self, _connection: int) -> None:
        """What was asked on a connection that is gone is not answered any more."""
        if self._batch is not None and not self._batch.ended.done():
            self._batch.ended.set_result(False)


_numbers = itertools.count(1)
