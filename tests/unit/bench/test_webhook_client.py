"""The posting client is honest: every request is its own and signed, and what is late counts from when it was due."""

import asyncio
import dataclasses
import json

import pytest

from bench import webhook_client
from penstock.channels.testing import webhook_signature

KEY = b"k" * 24
JOB = webhook_client.Job(
    host="127.0.0.1", port=0, path="/hook", key=KEY.hex(), prefix="w", count=40, connections=4, conversations=3
)


class Server:
    """Answers each request after `wait_s`, in two pieces; `statuses` are given in turn, the last for ever."""

    def __init__(self, connection: webhook_client.Connection, statuses: list[int], wait_s: float) -> None:
        self._connection, self._statuses, self._wait_s = connection, statuses, wait_s

    def write(self, data: bytes) -> None:
        assert data.startswith(b"POST /hook HTTP/1.1\r\n")
        asyncio.get_running_loop().call_later(self._wait_s, self._answer)

    def close(self) -> None:
        self._connection.connection_lost(None)

    def _answer(self) -> None:
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        self._connection.data_received(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\no" % status)
        self._connection.data_received(b"k")


async def run(
    job: webhook_client.Job, *, statuses: list[int] | None = None, wait_s: float = 0.0
) -> webhook_client.Done:
    async def connect(connection: webhook_client.Connection, _: webhook_client.Job) -> None:
        connection.connection_made(Server(connection, statuses or [200], wait_s))  # type: ignore[arg-type]

    async with asyncio.timeout(20):
        return await webhook_client.Load(job, webhook_client.requests(job), connect).run()


def test_every_request_is_one_event_of_its_own_and_signed() -> None:
    made = webhook_client.requests(JOB)
    events = []
    for request in made:
        head, _, body = request.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        assert int(headers["content-length"]) == len(body)
        signed = webhook_signature.signature(KEY, headers["webhook-id"], headers["webhook-timestamp"], body)
        assert headers["webhook-signature"] == signed
        events.append(json.loads(body))
    assert len({event["id"] for event in events}) == 40
    assert {event["data"]["conversation"] for event in events} == {"room-0", "room-1", "room-2"}


async def test_closed_loop_posts_each_once_and_counts_every_answer() -> None:
    done = await run(JOB, statuses=[200, 503, 200])
    assert (done.statuses, done.count, len(done.latencies_ms)) == ({200: 39, 503: 1}, 40, 32)


async def test_open_loop_latency_counts_from_when_a_request_was_due() -> None:
    """One connection and 10 ms an answer: at 1,000 a second the last waits for all the others."""
    job = dataclasses.replace(JOB, count=20, connections=1, rate_per_s=1000.0)
    done = await run(job, wait_s=0.01)
    assert done.count == 20
    assert done.latencies_ms[-1] > 20 * 10 - 20 * 1


async def test_a_server_that_hangs_up_fails_the_run() -> None:
    async def rude(connection: webhook_client.Connection, _: webhook_client.Job) -> None:
        connection.connection_made(Server(connection, [200], 30.0))  # type: ignore[arg-type]
        asyncio.get_running_loop().call_soon(connection.connection_lost, None)

    with pytest.raises(ConnectionError):
        await webhook_client.Load(JOB, webhook_client.requests(JOB), rude).run()
