"""A program for tests: the embedded servers of one data folder in a process of their own, which tests may kill.

Reads settings as JSON from its first argument, prints one line of JSON when it is up or refused, and stops when its
standard input ends or SIGTERM comes. With `"user": uid` it leaves root first, as if that user had started it.
"""

import asyncio
import concurrent.futures.thread  # noqa: F401 - loaded before leaving root, whose own Python may be closed to others
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

from penstock.base import errors, telemetry
from penstock.servers import binaries, embedded, privileges
from penstock.servers.settings import ServersSettings


def become(uid: int, programs: Path) -> None:
    """Leave root for good. The programs are copied first: a virtual environment of root's may be closed to others."""
    user = privileges.ServerUser(uid, uid, changes=True)
    programs_of = {"nats_server": binaries.supplied_nats_server, "postgres_folder": binaries.supplied_postgres_folder}
    for name, supply in programs_of.items():
        place = supply(programs, user)
        setattr(binaries, name, lambda place=place: place)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


async def main(wanted: dict) -> None:
    if (uid := wanted.pop("user", None)) is not None:
        become(uid, Path(wanted.pop("programs")))
    os.umask(wanted.pop("umask", 0o022))
    data_folder = Path(wanted.pop("data_folder"))
    servers = embedded.EmbeddedServers(ServersSettings(data_folder=data_folder, **wanted), durable=False)
    try:
        found = await servers.start()
    except errors.PenstockError as error:
        say(refused=type(error).__name__, code=error.code, detail=error.detail)
        return
    pids = {name: server.station.process.pid for name, server in servers._servers.items()}
    adopted = {name: server.station.process.adopted for name, server in servers._servers.items()}
    say(
        nats_url=found.nats.url_with_credentials(),
        monitor_url=found.nats.monitor_url,
        postgres_url=found.postgres_url.reveal(),
        pids=pids,
        adopted=adopted,
    )
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    with contextlib.suppress(PermissionError):
        loop.add_reader(sys.stdin.fileno(), stopped.set)
    await stopped.wait()
    loop.remove_reader(sys.stdin.fileno())
    await servers.stop()


def say(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    telemetry.configure_logs()
    asyncio.run(main(json.loads(sys.argv[1])))
