"""More than can be handled: bounded in memory, refused politely, unfair to nobody, and over as soon as it is over."""

import asyncio
import collections
import contextlib
import json
import os
import signal
from collections.abc import Generator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from penstock.base import clock as clocks
from penstock.channels.testing import webhook_platform, webhook_sender
from tests import standstill
from tests.e2e import installation, processes, raw_http

AT_ONCE = 16
FLOOD_S = 6.0
GROWTH_BYTES = 160 << 20
"""What the core may grow by: more than bounded bodies and connections need, far less than the flood brings."""


class Platform:
    """One account, and requests signed for it."""

    def __init__(self, made: dict[str, str], name: str) -> None:
        self.target = urlsplit(made["webhook_url"]).path
        self._sender = webhook_sender.WebhookSender(
            [made["secret"]],
            platform=webhook_platform.WebhookPlatform(name),
            clock=clocks.SystemClock(),
            patience_s=0,
        )
        self._name, self._number = name, 0
        self.events: list[str] = []

    def request(self, padding: int = 0) -> tuple[str, bytes, bytes]:
        """An event of its own: its id, the head of its request, and its body."""
        self._number += 1
        event_id = f"{self._name}-{self._number}"
        said = {"conversation": "room", "message_id": event_id, "sender": {"id": "ann"}, "text": "Hello"}
        body = json.dumps({"type": "message.created", "id": event_id, "data": said}).encode() + b" " * padding
        headers = {**self._sender.sign(f"hook-{event_id}", body), "content-length": str(len(body))}
        return event_id, raw_http.head("POST", self.target, headers), body

    async def post(self, running: installation.Installation) -> raw_http.Answer:
        """Send one event on a connection of its own."""
        _, head, body = self.request()
        async with raw_http.connected(running.http_url) as connection:
            await connection.send(head + body)
            return await connection.answer(timeout_s=40)


async def platform(running: installation.Installation, name: str) -> Platform:
    """An account of a tenant that exists."""
    made = await running.cli("account", "create", name, "-t", "acme", "--set", "url=http://127.0.0.1:9/")
    return Platform(made, name)


def memory_bytes(pid: int) -> int:
    """The resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


@contextlib.contextmanager
def stalled(running: installation.Installation) -> Generator[None]:
    """Postgres, all of its processes, does not move; connections to it stay open."""
    postmaster, family = running.server_pid("postgres"), []
    try:
        # The parent first: it starts none any more, and those that end stay in the table until it looks at them.
        standstill.bring_about(postmaster)
        family = [each.pid for each in processes.using(running.data) if each.parent == postmaster]
        standstill.bring_about(*family)
        yield
    finally:
        for pid in (postmaster, *family):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


async def flood(
    running: installation.Installation, platforms: list[Platform], until_s: float
) -> collections.Counter[int]:
    """Two hundred connections that post 100 KiB again and again, whatever they hear; how often each status came."""
    heard: collections.Counter[int] = collections.Counter()
    loop = asyncio.get_running_loop()

    async def insist(one: Platform) -> None:
        while loop.time() < until_s:
            with contextlib.suppress(OSError, EOFError, TimeoutError):
                async with raw_http.connected(running.http_url) as connection:
                    while loop.time() < until_s:
                        event_id, head, body = one.request(padding=100 << 10)
                        await connection.send(head + body)
                        status = (await connection.answer(timeout_s=40)).status
                        heard[status] += 1
                        if status == 200:
                            one.events.append(event_id)
            await asyncio.sleep(0.01)

    await asyncio.gather(*(insist(platforms[number % len(platforms)]) for number in range(200)))
    return heard


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_stalled_postgres_under_a_flood_fills_no_memory_and_is_over_when_it_is_over(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = installation.environment(folder, PENSTOCK_CHANNELS__REQUESTS_PER_ACCOUNT=str(AT_ONCE))
    async with installation.up(environ) as running:
        await running.cli("tenant", "create", "acme")
        platforms = [await platform(running, f"shop-{number}") for number in range(4)]
        for one in platforms:
            assert (await one.post(running)).status == 200
        core, loop = running.core_pid(), asyncio.get_running_loop()
        before = most = memory_bytes(core)
        with stalled(running):
            flooding = asyncio.create_task(flood(running, platforms, loop.time() + FLOOD_S))
            end_s = loop.time() + FLOOD_S
            while loop.time() < end_s:
                await asyncio.sleep(0.1)
                most = max(most, memory_bytes(core))
        heard = await flooding
        assert set(heard) <= {200, 503}
        assert heard[503] > 100, "the flood was refused, not kept"
        assert most - before < GROWTH_BYTES
        assert running.core_pid() == core, "the same process all along"
        await running.answers()
        for one in platforms:
            assert (await one.post(running)).status == 200, "it is over"
        stored = await running.metric("penstock_inbound_messages_total")
        assert stored >= sum(len(one.events) for one in platforms) + 8
    with capsys.disabled():
        grown = (most - before) >> 20
        print(f"\n  Postgres stalled under a flood: {grown} MiB more, {heard[503]} refused, {heard[200]} taken", end="")


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_the_flood_of_one_account_does_not_lock_out_another(folder: Path) -> None:
    environ = installation.environment(folder, PENSTOCK_CHANNELS__REQUESTS_PER_ACCOUNT=str(AT_ONCE))
    async with installation.up(environ) as running, contextlib.AsyncExitStack() as stack:
        await running.cli("tenant", "create", "acme")
        loud, quiet = [await platform(running, name) for name in ("loud", "quiet")]
        held: list[tuple[raw_http.Connection, bytes]] = []
        for _ in range(AT_ONCE):
            connection = await stack.enter_async_context(raw_http.connected(running.http_url))
            _, head, body = loud.request()
            await connection.send(head + body[:-1])
            held.append((connection, body[-1:]))

        async def refused() -> bool:
            return (await loud.post(running)).status == 503

        async with asyncio.timeout(20):
            while not await refused():
                await asyncio.sleep(0.02)
        answer = await loud.post(running)
        assert (json.loads(answer.body)["code"], answer.headers["retry-after"]) == ("account_busy", "1")
        assert [(await quiet.post(running)).status for _ in range(20)] == [200] * 20
        for connection, rest in held:
            await connection.send(rest)
        assert [(await connection.answer()).status for connection, _ in held] == [200] * AT_ONCE
        assert (await loud.post(running)).status == 200
