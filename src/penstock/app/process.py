"""One process that runs roles: builds what they share, starts them, and stops them without losing anything."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncGenerator, Mapping, Sequence

from penstock.app import child, configuration, house, roles
from penstock.base import errors, tasks, telemetry
from penstock.edge import wiring as edge_wiring
from penstock.edge.entrypoints import probes
from penstock.spine import consumer, ports, stream

_log = telemetry.logger("app.process")


async def run(names: Sequence[str], settings: configuration.Configuration, environ: Mapping[str, str]) -> None:
    """Run roles until SIGTERM, SIGINT, or the end of the lifeline; then drain.

    Order of stopping: take no more requests and answer those in flight; drain the consumers; publish what is in the
    outboxes; close. Raises Rejected for an unknown role or a schema this build does not know.
    """
    chosen = roles.select(names)
    telemetry.configure_logs(level=settings.telemetry.log_level)
    async with house.opened(settings, settings.servers.postgres_url) as joined, _spine(settings) as transport:
        await joined.wait_until_migrated()
        parts = roles.Parts(joined, transport, settings)
        for role in chosen:
            role.furnish(parts)
        probe = probes.Probes({"postgres": joined.check, "nats": lambda: _connected(transport)})
        server = edge_wiring.EdgeServer(settings.edge, parts.mounts, probe, listener=_inherited(environ))
        running = tasks.Tasks()
        consuming = running.once("consumers", _consume(transport, parts))
        for publisher in parts.publishers:
            running.forever(f"publisher {publisher.room}", publisher.run)
        serving = asyncio.create_task(server.serve())
        _log.info("running", roles=[role.name for role in chosen], port=server.port, pid=os.getpid())
        await _told_to_stop(environ)
        _log.info("draining")
        server.stop()
        await serving
        consuming.cancel()
        await asyncio.gather(*(worker.drain(settings.edge.drain_s) for worker in parts.started))
        await asyncio.gather(*(publisher.flush(timeout_s=5.0) for publisher in parts.publishers))
        await running.stop()
        _log.info("stopped")


async def _consume(transport: ports.Spine, parts: roles.Parts) -> None:
    """Make streams and durables when the server is there, which may be later than us, and start the workers."""
    failures = 0
    while True:
        try:
            await stream.ensure(transport)
            for policy, worker in parts.workers:
                await consumer.ensure(transport, policy)
                if worker not in parts.started:
                    await worker.start()
                    parts.started.append(worker)
            return
        except errors.PenstockError as error:
            failures += 1
            _log.warning("consumers wait", code=error.code, detail=error.detail)
            await asyncio.sleep(tasks.backoff_s(failures, most_s=5.0))


@contextlib.asynccontextmanager
async def _spine(settings: configuration.Configuration) -> AsyncGenerator[ports.Spine]:
    from penstock.spine.adapters import spine_nats

    transport = await spine_nats.connect(settings.servers.nats_url, name="penstock")
    try:
        yield transport
    finally:
        await transport.close()


async def _connected(transport: ports.Spine) -> str:
    return "" if transport.connected else "no nats-server answers"


def _inherited(environ: Mapping[str, str]) -> socket.socket | None:
    """The listening socket that the supervisor holds for us, if there is one."""
    number = environ.get(child.LISTEN_FD)
    return socket.socket(fileno=int(number)) if number else None


async def _told_to_stop(environ: Mapping[str, str]) -> None:
    """Return on SIGTERM, SIGINT, or when the parent that holds the lifeline is gone."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    lifeline = environ.get(child.LIFELINE_FD)
    if lifeline:
        loop.add_reader(int(lifeline), stop.set)
    await stop.wait()
    if lifeline:
        loop.remove_reader(int(lifeline))
