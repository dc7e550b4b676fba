"""A platform that posts webhooks as cheaply as Python can, in a process of its own: one load for both sides.

    python -m bench.webhook_client       one job as a line of JSON on standard input, "go" as the next, results out

Every request is written and signed before the first one leaves. A connection is one `asyncio.Protocol` that writes
bytes and looks for the end of an answer; nothing is parsed but the status and the length.
"""

import asyncio
import base64
import collections
import dataclasses
import hmac
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import cast

import uvloop

WARM = 0.2
"""Share of the requests that only warm up: they are counted, their latencies are not looked at."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """Post `count` events of `conversations` that take turns to `host:port/path`, signed with `key` (hex).

    `rate_per_s` 0: closed loop, each of `connections` posts again as soon as it is answered, for `most_s` at most. Else
    open loop: request n is due at n / rate, and its latency counts from then.
    """

    host: str
    port: int
    path: str
    key: str
    prefix: str
    count: int
    connections: int
    conversations: int = 500
    rate_per_s: float = 0.0
    most_s: float = 300.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Done:
    """What became of a job: answers by status, seconds from first request to last answer, sorted latencies in ms."""

    statuses: dict[int, int]
    seconds: float
    latencies_ms: list[float]
    cpu_s: float

    @property
    def count(self) -> int:
        """Requests that were answered."""
        return sum(self.statuses.values())


def requests(job: Job) -> list[bytes]:
    """Every request of a job as bytes, with an event id of its own and the signature of Standard Webhooks."""
    key, stamp, now = bytes.fromhex(job.key), str(int(time.time())), datetime.now(UTC).isoformat()
    return [_request(job, number, key, stamp, now) for number in range(job.count)]


def _request(job: Job, number: int, key: bytes, stamp: str, now: str) -> bytes:
    sender = {"id": "ann", "display_name": "Ann", "kind": "person"}
    text = f"message {number}: how long will it take until my parcel arrives, and who can tell me more about it?"
    data = {
        "conversation": f"room-{number % job.conversations}",
        "message_id": f"{job.prefix}-msg-{number}",
        "sender": sender,
        "text": text,
    }
    event = {"type": "message.created", "id": f"{job.prefix}-evt-{number}", "timestamp": now, "data": data}
    body = json.dumps(event).encode()
    webhook_id = f"{job.prefix}-hook-{number}"
    mac = hmac.digest(key, f"{webhook_id}.{stamp}.".encode() + body, "sha256")
    head = (
        f"POST {job.path} HTTP/1.1\r\nhost: {job.host}:{job.port}\r\nuser-agent: platform\r\naccept: */*\r\n"
        f"content-type: application/json\r\nwebhook-id: {webhook_id}\r\nwebhook-timestamp: {stamp}\r\n"
        f"webhook-signature: v1,{base64.b64encode(mac).decode()}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request on its way."""

    def __init__(self, load: "Load") -> None:
        self._load, self._answer, self._due_s = load, b"", 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to post."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def post(self, request: bytes, due_s: float) -> None:
        """Write a request whose latency counts from `due_s`."""
        assert self._transport is not None
        self._due_s = due_s
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """An answer, or a part of one."""
        self._answer = self._answer + data if self._answer else data
        head, blank, body = self._answer.partition(b"\r\n\r\n")
        if not blank:
            return
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if len(body) < int(length or b"0"):
            return
        self._answer = b""
        self._load.answered(self, int(head[9:12]), self._due_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """The end."""
        self._load.lost(exc)

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


Connect = Callable[[Connection, Job], Awaitable[None]]


async def over_tcp(connection: Connection, job: Job) -> None:
    """Open a connection to where a job posts."""
    await asyncio.get_running_loop().create_connection(lambda: connection, job.host, job.port)


class Load:
    """All connections of one job, and what came back."""

    def __init__(self, job: Job, prepared: Sequence[bytes], connect: Connect | None = None) -> None:
        self._job, self._prepared, self._connect = job, prepared, connect or over_tcp
        self._next = self._running = 0
        self._statuses: collections.Counter[int] = collections.Counter()
        self._latencies_ms: list[float] = []
        # Taken in turn: one that rests for long is hung up on, as it should be.
        self._idle: collections.deque[Connection] = collections.deque()
        self._due: collections.deque[float] = collections.deque()
        self._end_s = 0.0
        self._closing = False
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> Done:
        """Connect, post everything, hang up. Raises ConnectionError when the other side hangs up first."""
        for _ in range(self._job.connections):
            made = Connection(self)
            await self._connect(made, self._job)
            self._idle.append(made)
        everybody, cpu_s, begun_s = list(self._idle), time.process_time(), time.perf_counter()
        self._end_s = begun_s + self._job.most_s
        if self._job.rate_per_s:
            self._tick(begun_s, 0)
        else:
            self._idle.clear()
            for connection in everybody:
                self._post(connection, time.perf_counter())
        await self._done
        seconds = time.perf_counter() - begun_s
        self._closing = True
        for connection in everybody:
            connection.close()
        measured = sorted(self._latencies_ms[round(WARM * len(self._latencies_ms)) :])
        return Done(
            statuses=dict(self._statuses), seconds=seconds, latencies_ms=measured, cpu_s=time.process_time() - cpu_s
        )

    def _tick(self, begun_s: float, number: int) -> None:
        """Open loop: post what is due; without an idle connection it waits, and its latency goes on counting."""
        now_s = time.perf_counter()
        while number < self._job.count and (due_s := begun_s + number / self._job.rate_per_s) <= now_s:
            number += 1
            if self._idle:
                self._post(self._idle.popleft(), due_s)
            else:
                self._due.append(due_s)
        if number < self._job.count:
            ahead_s = begun_s + number / self._job.rate_per_s - time.perf_counter()
            asyncio.get_running_loop().call_later(max(0.0, ahead_s), self._tick, begun_s, number)

    def _post(self, connection: Connection, due_s: float) -> None:
        if self._next >= len(self._prepared) or due_s >= self._end_s:
            return
        request = self._prepared[self._next]
        self._next += 1
        self._running += 1
        connection.post(request, due_s)

    def answered(self, connection: Connection, status: int, due_s: float) -> None:
        """Note an answer, and post what comes next."""
        now_s = time.perf_counter()
        self._running -= 1
        self._statuses[status] += 1
        self._latencies_ms.append((now_s - due_s) * 1000)
        if not self._job.rate_per_s:
            self._post(connection, now_s)
        elif self._due:
            self._post(connection, self._due.popleft())
        else:
            self._idle.append(connection)
        over = self._next >= len(self._prepared) or (not self._job.rate_per_s and now_s >= self._end_s)
        if not self._running and over and not self._done.done():
            self._done.set_result(None)

    def lost(self, error: Exception | None) -> None:
        """A connection ended before we ended it."""
        if not self._closing and not self._done.done():
            self._done.set_exception(error or ConnectionError("the other side hung up"))


async def main() -> None:
    """One job."""
    job = Job(**json.loads(sys.stdin.readline()))
    load = Load(job, requests(job))
    print("ready", flush=True)
    assert sys.stdin.readline().strip() == "go"
    print(json.dumps(dataclasses.asdict(await load.run())), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
