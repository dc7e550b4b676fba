"""Ports for servers that a test starts, kills, and starts again under the same address."""

import contextlib
import os
import random
import socket

HOST = "127.0.0.1"
LOWEST, EACH, SHARES = 20_000, 3_000, 4
"""Below the ports that the system gives to outgoing connections, divided among the workers of pytest-xdist.

One of those connections could take a port before its server does, and a client that tries it again and again while the
server is away could even meet itself there. Another worker could be given the same one.
"""


def free_port() -> int:
    """A TCP port that nobody uses; one that is not listened on at once may be given out again."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """As many different ones."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    lowest = LOWEST + worker % SHARES * EACH
    with contextlib.ExitStack() as stack:
        held: list[int] = []
        while len(held) < count:
            with contextlib.suppress(OSError):
                listener = stack.enter_context(socket.create_server((HOST, random.randrange(lowest, lowest + EACH))))
                held.append(listener.getsockname()[1])
        return held
