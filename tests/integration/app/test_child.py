"""A child is kept alive, keeps the listener, and is stopped in order."""

import asyncio
import contextlib
import os
import signal
import sys

import pytest

from penstock.app import child
from penstock.edge import wiring

PROGRAM = """
import os, signal, socket, sys
listener = socket.socket(fileno=int(os.environ["PENSTOCK_LISTEN_FD"]))
listener.setblocking(True)
signal.signal(signal.SIGTERM, signal.SIG_IGN if os.environ["MANNERS"] == "none" else lambda *_: sys.exit(7))
while True:
    connection, _ = listener.accept()
    connection.sendall(str(os.getpid()).encode())
    connection.close()
"""


@contextlib.asynccontextmanager
async def running(manners="good", program=PROGRAM):
    """A started child, the function that asks who serves, and the listener."""
    with wiring.bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]

        async def ask():
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            async with asyncio.timeout(20):
                answer = await reader.read()
            writer.close()
            return int(answer)

        kept = child.Child((sys.executable, "-c", program), {**os.environ, "MANNERS": manners}, listener)
        await kept.start()
        yield kept, ask


async def test_a_child_that_is_killed_is_replaced_and_nobody_is_refused():
    async with running() as (kept, ask):
        first = await ask()
        assert (first, kept.restarts) == (kept.pid, 0)
        os.kill(first, signal.SIGKILL)
        answers = await asyncio.gather(*(ask() for _ in range(20)))  # while there is none: the backlog keeps them
        assert set(answers) == {kept.pid}
        assert kept.pid != first
        assert kept.restarts == 1
        assert await kept.stop(10) == 7


async def test_stopping_asks_first_and_starts_nothing_anew():
    async with running() as (kept, ask):
        pid = await ask()
        assert await kept.stop(10) == 7
        assert (kept.pid, kept.restarts) == (0, 0)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_one_that_does_not_listen_is_killed():
    async with running("none") as (kept, ask):
        await ask()
        assert await kept.stop(0.2) == -signal.SIGKILL


async def test_one_that_keeps_ending_can_be_stopped_between_two_tries():
    async with running(program="raise SystemExit(3)") as (kept, _):
        async with asyncio.timeout(20):
            while kept.restarts < 2:
                await asyncio.sleep(0.01)
        await kept.stop(10)
        restarts = kept.restarts
        await asyncio.sleep(0.3)
        assert (kept.pid, kept.restarts) == (0, restarts)


async def test_the_lifeline_ends_with_its_holder():
    """What a child sees when its parent dies: the end of the pipe that only the parent held open."""
    program = (
        "import os, sys\n"
        "assert os.read(int(os.environ['PENSTOCK_LIFELINE_FD']), 1) == b''\n"
        "open(os.environ['SEEN'], 'w').close()\n"
    )
    holder = (
        "import asyncio, os, sys, socket\n"
        "from penstock.app import child\n"
        "async def main():\n"
        "    listener = socket.create_server(('127.0.0.1', 0))\n"
        f"    kept = child.Child((sys.executable, '-c', {program!r}), os.environ, listener)\n"
        "    await kept.start()\n"
        "    os._exit(9)\n"
        "asyncio.run(main())\n"
    )
    from penstock.servers import testing

    with testing.temporary_folder() as folder:
        seen = folder / "seen"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", holder, env={**os.environ, "SEEN": str(seen)}
        )
        assert await process.wait() == 9
        async with asyncio.timeout(20):
            while not seen.exists():
                await asyncio.sleep(0.02)
        assert seen.exists()
