"""One payload on its way into a bucket: several chunks in flight, sent again from the first one that went missing.

Chunks of one connection are stored in the order in which they are written, or not at all; when an answer is missing,
everything from that chunk on is written again (go-back-N), and the reader lets what came twice pass by. So nothing
needs to be taken back, which a fenced worker could not do.
"""

import asyncio
import base64
import collections
from typing import Final

import msgspec

from penstock.base import errors
from penstock.spine import payload
from penstock.spine.adapters import nats_answers, payload_transfer
from penstock.spine.plane import headers
from penstock.spine.plane import link as links
from penstock.spine.plane.message import Message

WINDOW: Final = 8
TRY_S: Final = 5.0
PAUSE_S: Final = 0.05


def chunk_subject(bucket: str, name: str) -> str:
    """Where the chunks of an object are."""
    return f"$O.{bucket}.C.{name}"


def description_subject(bucket: str, name: str) -> str:
    """Where an object is described."""
    return f"$O.{bucket}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"


class NatsUpload:
    """Sends chunks with up to `WINDOW` answers outstanding; what is not answered is kept, to be sent again."""

    def __init__(self, link: links.Link, bucket: str, name: str, lifetime_s: int, *, deadline_s: float) -> None:
        self._link, self._bucket, self._name, self._deadline_s = link, bucket, name, deadline_s
        self._subject = chunk_subject(bucket, name)
        self._headers = headers.block({"Nats-TTL": f"{lifetime_s}s"})
        self._unanswered: collections.deque[tuple[bytes, asyncio.Future[Message] | None]] = collections.deque()

    async def send(self, chunk: bytes) -> None:
        """Write one chunk, after waiting for room in the window."""
        while len(self._unanswered) >= WINDOW:
            await self._settle_first()
        self._unanswered.append((chunk, self._write(chunk)))

    async def finish(self, stored: payload_transfer.Stored, /) -> None:
        """Wait for all answers, then describe the object, which makes it one for every NATS client."""
        while self._unanswered:
            await self._settle_first()
        self._subject = description_subject(self._bucket, self._name)
        await self.send(_description(stored))
        await self._settle_first()

    async def abandon(self) -> None:
        """Return when nothing is on its way any more: what is removed afterwards stays removed."""
        answers = [answer for _, answer in self._unanswered if answer is not None]
        self._unanswered.clear()
        await asyncio.gather(*answers, return_exceptions=True)

    def _write(self, chunk: bytes) -> "asyncio.Future[Message] | None":
        """Write a chunk now; None when that is not possible now."""
        try:
            return self._link.call(self._subject, chunk, TRY_S, headers_block=self._headers)
        except errors.Unavailable as error:
            if error.code == "spine_closed":
                raise
            return None

    async def _settle_first(self) -> None:
        """Return when the oldest chunk is stored. Raises what the bucket says, Unavailable when it stays away."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._deadline_s
        while True:
            failure = await self._outcome()
            if failure is None:
                self._unanswered.popleft()
                return
            if loop.time() >= until:
                raise failure
            await self._again(until)

    async def _outcome(self) -> errors.Unavailable | None:
        """How the oldest chunk fared: None when it is stored, or what may pass. Raises what will not."""
        answer = self._unanswered[0][1]
        if answer is None:
            return errors.Unavailable("disconnected", "NATS does not answer")
        try:
            # Shielded: whoever cancels a put must still be able to see how what is on its way ends.
            said = await asyncio.shield(answer)
            if said.status:
                return payload.bucket_away(self._bucket)
            nats_answers.published(said.body)
        except errors.Unavailable as error:
            if error.code == "stream_full":
                raise payload.bucket_full(self._bucket) from None
            if error.code == "spine_closed":
                raise
            return error
        return None

    async def _again(self, until: float) -> None:
        """Write everything that is unanswered anew, in order, once there is a connection with room."""
        for _, answer in self._unanswered:
            if answer is not None:
                answer.cancel()
        chunks = [chunk for chunk, _ in self._unanswered]
        await asyncio.sleep(PAUSE_S)
        left_s = max(0.01, until - asyncio.get_running_loop().time())
        await self._link.wait_connected(left_s)
        self._unanswered.clear()
        self._unanswered.extend((chunk, self._write(chunk)) for chunk in chunks)


def _description(stored: payload_transfer.Stored) -> bytes:
    """What other NATS clients list and check: of the sealed bytes, for nobody else needs to know more."""
    return msgspec.json.encode(
        {
            "name": stored.name,
            "bucket": stored.bucket,
            "nuid": stored.name,
            "size": stored.size_bytes,
            "mtime": "0001-01-01T00:00:00Z",
            "chunks": stored.chunks,
            "digest": f"SHA-256={base64.urlsafe_b64encode(stored.sha256).decode()}",
            "options": {"max_chunk_size": payload_transfer.CHUNK_BYTES},
        }
    )
