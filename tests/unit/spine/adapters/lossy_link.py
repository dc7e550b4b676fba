"""A link to a bucket in memory that loses questions and answers as a test says: what is on the wire, without a wire."""

import asyncio
import json
from collections.abc import Callable, Iterator

from penstock.base import errors
from penstock.spine.plane import headers
from penstock.spine.plane.message import Message

FATES = ("fine", "unheard", "unanswered", "refused", "nobody", "away")
"""Of one chunk: stored and answered; lost on its way; stored and its answer lost; refused by a stream without a leader;
nobody there; not even written."""


class LossyLink:
    """Stores what is published. `fates` says what becomes of each message in turn, and `fine` when it is over.

    `batches` says after how many messages each answer to a question is cut short.
    """

    inbox = "_INBOX.test"

    def __init__(self, fates: Iterator[str], batches: Iterator[int] | None = None) -> None:
        self._fates, self._batches = fates, batches or iter(())
        self.stored: list[tuple[str, bytes]] = []
        self.blocks: list[bytes] = []
        self.most_unanswered = self._unanswered = 0
        self._receive: Callable[[Message], None] = lambda _: None
        self._downs: list[Callable[[int], None]] = []

    async def wait_connected(self, timeout_s: float) -> None:
        await asyncio.sleep(0)

    def call(
        self, subject: str, body: bytes, timeout_s: float, *, headers_block: bytes = b""
    ) -> "asyncio.Future[Message]":
        fate = next(self._fates, "fine")
        if fate == "away":
            raise errors.Unavailable("disconnected", "no connection")
        self.blocks.append(headers_block)
        if fate in {"fine", "unanswered"}:
            self.stored.append((subject, body))
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._unanswered += 1
        self.most_unanswered = max(self.most_unanswered, self._unanswered)
        asyncio.get_running_loop().call_soon(self._answer, answer, fate)
        return answer

    def _answer(self, answer: "asyncio.Future[Message]", fate: str) -> None:
        self._unanswered -= 1
        if answer.done():
            return
        if fate == "fine":
            answer.set_result(Message("", "", b"", b'{"stream":"S","seq":1}'))
        elif fate == "refused":
            answer.set_result(
                Message("", "", b"", b'{"error":{"code":503,"err_code":10008,"description":"no leader"}}')
            )
        elif fate == "nobody":
            answer.set_result(Message("", "", b"NATS/1.0 503\r\n\r\n", b""))
        else:
            answer.set_exception(errors.Unavailable("timeout", "no answer in time"))

    def subscribe(self, pattern: str, receive: Callable[[Message], None], *, queue: str = "") -> "LossyLink":
        self._receive = receive
        return self

    def close(self) -> None:
        """Of the subscription."""

    def on_down(self, tell: Callable[[int], None]) -> Callable[[], None]:
        self._downs.append(tell)
        return lambda: None

    def publish(self, subject: str, body: bytes, *, reply: str = "") -> None:
        """A question for a batch; a batch that is cut short ends with the connection."""
        question = json.loads(body)
        found = [
            (number, chunk)
            for number, (subject, chunk) in enumerate(self.stored, start=1)
            if subject == question["next_by_subj"] and number >= question["seq"]
        ]
        cut = next(self._batches, None)
        asyncio.get_running_loop().call_soon(self._send, reply, found, question["batch"], cut)

    def _send(self, reply: str, found: list[tuple[int, bytes]], count: int, cut: int | None) -> None:
        for place, (number, chunk) in enumerate(found[:count]):
            if place == cut:
                break
            about = {"Nats-Sequence": str(number), "Nats-Num-Pending": str(len(found) - place - 1)}
            self._receive(Message(reply, "", headers.block(about), chunk))
        if cut is not None:
            for tell in self._downs:
                tell(1)
            return
        self._receive(Message(reply, "", b"NATS/1.0 204 EOB\r\n\r\n" if found else b"NATS/1.0 404 None\r\n\r\n", b""))
