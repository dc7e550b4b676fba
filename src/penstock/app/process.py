"""One process that runs roles: builds what they share, starts them, and stops them without losing anything."""

import asyncio
import contextlib
import gc
import os
import socket
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Final

from penstock.app import child, configuration, house, roles
from penstock.base import errors, recording, settings, tasks, telemetry, vitals
from penstock.edge import wiring as edge_wiring
from penstock.edge.entrypoints import probes
from penstock.spine import heartbeat, ports, provision
from penstock.spine.adapters import spine_nats

PROVISIONED_EVERY_S: Final = 15.0
BEATS_EVERY_S: Final = 2.0
"""Three roles cost nothing, and whoever asks who is there need not wait for long."""

_log = telemetry.logger("app.process")


async def run(names: Sequence[str], found: configuration.Configuration, environ: Mapping[str, str]) -> None:
    """Run roles until SIGTERM, SIGINT, or the end of the lifeline; then drain.

    Order of stopping: take no more requests and answer those in flight; drain the consumers; let the publishers finish
    what is on its way; close. Raises Rejected for an unknown role, a schema newer than this build, or missing URLs.
    """
    chosen = roles.select(names)
    telemetry.configure_logs(level=found.telemetry.log_level)
    stopping = _told_to_stop(environ)
    async with (
        recording.recording(found.telemetry, "penstock", roles=" ".join(role.name for role in chosen)),
        _opened(found, stopping, seals=any(role.seals for role in chosen)) as joined,
        _spine(found) as transport,
    ):
        parts = roles.Parts(joined, transport, found)
        for role in chosen:
            role.furnish(parts)
        consumers = _Consumers(transport, parts, found.spine.replicas)
        checks = {"postgres": joined.check, "nats": lambda: _connected(transport), "streams": consumers.check}
        knows_tenants = any("tenancy" in role.rooms for role in chosen)
        probe = probes.Probes(checks, joined.tenancy.require_active if knows_tenants else None)
        server = edge_wiring.EdgeServer(found.edge, parts.mounts, probe, listener=_inherited(environ))
        async with _seen(transport, chosen, consumers) as told:
            await _serve(server, parts, consumers, stopping, told)
        _log.info("stopped")


async def _serve(
    server: edge_wiring.EdgeServer,
    parts: roles.Parts,
    consumers: "_Consumers",
    stopping: asyncio.Event,
    told: Sequence[heartbeat.Heartbeat],
) -> None:
    """Let all parts run until told to stop, and stop them in order."""
    drain_s, running = parts.settings.edge.drain_s, tasks.Tasks()
    consuming = running.forever("consumers", consumers.see_to)
    for part in (*parts.publishers.values(), *parts.keepers, parts.house.listener):
        await part.start()
    serving = asyncio.create_task(server.serve())
    gc.freeze()  # what is here now stays: the collector need not walk through all of it again and again
    gc.set_threshold(20_000, 20, 20)  # requests leave no circles behind, so there is little to look for
    _log.info("running", roles=[part.component for part in told], port=server.port, pid=os.getpid())
    await stopping.wait()
    _log.info("draining")
    parts.house.channels.stop()
    server.stop()
    await asyncio.gather(*(part.drain() for part in told))
    await serving
    consuming.cancel()
    await asyncio.gather(*(worker.drain(drain_s) for worker in parts.started))
    await asyncio.gather(*(part.stop() for part in (*parts.publishers.values(), *parts.keepers)))
    await running.stop()


@contextlib.asynccontextmanager
async def _seen(
    transport: ports.Spine, chosen: Sequence[roles.Role], consumers: "_Consumers"
) -> AsyncGenerator[list[heartbeat.Heartbeat]]:
    """This process measures itself, and each role says that it is here, as ready as its consumers are."""
    looking = vitals.watch()
    told = [
        heartbeat.Heartbeat(transport, role.name, is_ready=lambda: consumers.ready, period_s=BEATS_EVERY_S)
        for role in chosen
    ]
    for part in told:
        part.start()
    try:
        yield told
    finally:
        await asyncio.gather(*(part.stop() for part in told))
        looking.stop()


@contextlib.asynccontextmanager
async def _opened(
    found: configuration.Configuration, stopping: asyncio.Event, *, seals: bool
) -> AsyncGenerator[house.House]:
    """The rooms, as soon as Postgres is there with a schema that this build knows, and the key service if there is."""
    url = _required(found.servers.postgres_url, "PENSTOCK_POSTGRES_URL")
    async with contextlib.AsyncExitStack() as stack:
        failures = 0
        while True:
            try:
                joined = await stack.enter_async_context(house.opened(found, url, seals=seals))
            except errors.Unavailable as error:
                if stopping.is_set():
                    raise
                failures += 1
                _log.warning("waits to start", code=error.code, detail=error.detail)
                await asyncio.sleep(tasks.backoff_s(failures, most_s=5.0))
            else:
                yield joined
                return


class _Consumers:
    """Streams and durables are there, and workers run on them: now, and again after a server lost its store."""

    def __init__(self, transport: ports.Spine, parts: roles.Parts, replicas: int) -> None:
        self._transport, self._parts, self._replicas = transport, parts, replicas
        self._missing = "streams and durables were not looked at yet"

    async def see_to(self) -> None:
        """Make what is missing, start what does not run, and come back later."""
        try:
            made = await provision.streams(self._transport, replicas=self._replicas)
            for policy in self._parts.durables:
                await provision.durable(self._transport, policy)
            for policy, worker in self._parts.workers:
                await provision.durable(self._transport, policy)
                if worker not in self._parts.started:
                    await worker.start()
                    self._parts.started.append(worker)
        except errors.PenstockError as error:
            self._missing = error.detail
            raise errors.Unavailable(error.code, error.detail) from error
        if made:
            _log.info("streams made", streams=made)
        self._missing = ""
        await asyncio.sleep(PROVISIONED_EVERY_S)

    @property
    def ready(self) -> bool:
        """Whether all are there."""
        return not self._missing

    async def check(self) -> str:
        """Empty when all are there, else one sentence."""
        return self._missing


@contextlib.asynccontextmanager
async def _spine(found: configuration.Configuration) -> AsyncGenerator[ports.Spine]:
    """The transport, connecting in the background: webhooks need Postgres only."""
    url = _required(found.servers.nats_url, "PENSTOCK_NATS_URL")
    transport = spine_nats.NatsSpine.connecting(spine_nats.NatsSpine.address(url, found.nats))
    try:
        yield transport
    finally:
        await transport.close()


def _required(url: settings.Secret | None, name: str) -> str:
    if url is None:
        raise errors.Rejected(
            "no_url", f"{name} is not set", hint="'penstock up' starts servers by itself.", field=name
        )
    return url.reveal()


async def _connected(transport: ports.Spine) -> str:
    return "" if transport.connected else "no nats-server answers"


def _inherited(environ: Mapping[str, str]) -> socket.socket | None:
    """The listening socket that the supervisor holds for us, if there is one."""
    number = environ.get(child.LISTEN_FD)
    return socket.socket(fileno=int(number)) if number else None


def _told_to_stop(environ: Mapping[str, str]) -> asyncio.Event:
    """Set on SIGTERM, SIGINT, SIGHUP, or when the parent that holds the lifeline is gone."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in tasks.ending_signals():
        loop.add_signal_handler(number, stop.set)
    lifeline = environ.get(child.LIFELINE_FD)
    if lifeline:

        def cut() -> None:
            loop.remove_reader(int(lifeline))
            stop.set()

        loop.add_reader(int(lifeline), cut)
    return stop
