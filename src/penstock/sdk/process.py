"""The process of an app: connect, answer until told to stop, finish what was begun, exit with a code that says how."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from penstock.base import errors, ids, recording, settings, telemetry, telemetry_settings, vitals
from penstock.sdk import connection, probes
from penstock.sdk.app import App
from penstock.sdk.replica import Replica
from penstock.sdk.settings import SdkSettings
from penstock.spine import desk, ports, suspects
from penstock.spine.adapters import spine_nats

TRY_AGAIN_S: Final = 0.25
LAST_WORDS_S: Final = 5.0

_log = telemetry.logger("sdk.process")


def run(app: App, tenants: Sequence[str]) -> None:
    """Serve on a loop of its own until SIGTERM or SIGINT. Raises SystemExit with one line said when it cannot."""
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_until_told(app, tenants))
    except errors.PenstockError as error:
        end = "" if error.detail.endswith((".", "?", "!")) else "."
        sys.stderr.write(f"penstock: {error.detail}{end} {error.hint}".rstrip() + "\n")
        raise SystemExit(exit_code(error)) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def exit_code(error: errors.PenstockError) -> int:
    """As the CLI's: 2 usage, 3 forbidden, 75 try again, 1 anything else."""
    if isinstance(error, errors.Unavailable):
        return 75
    if isinstance(error, errors.Rejected):
        return 3 if error.status in {401, 403} else 2
    return 1


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, which is the faster one, where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _until_told(app: App, tenants: Sequence[str]) -> None:
    """Serve; the first signal cancels that, which drains, and a second one cancels the draining."""
    configured = settings.load(SdkSettings, "sdk", {}, os.environ)
    telemetry.configure_logs(level=configured.log_level)
    watched = settings.load(telemetry_settings.TelemetrySettings, "telemetry", {}, os.environ)
    async with recording.recording(watched, app.name):
        await _until_signal(app, tenants)


async def _until_signal(app: App, tenants: Sequence[str]) -> None:
    loop, told = asyncio.get_running_loop(), False
    serving = asyncio.create_task(serve(app, tenants), name=f"app {app.name}")

    def stop() -> None:
        nonlocal told
        told = True
        serving.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        await serving
    except asyncio.CancelledError:
        if not told:
            raise


async def serve(app: App, tenants: Sequence[str]) -> None:
    """Answer until cancelled, then drain. Raises Rejected or Unavailable when it cannot begin."""
    environ = os.environ
    if not len(app.handlers):
        raise errors.Rejected("no_handlers", f"the app {app.name} has no handler", hint="Write one: @app.on_message")
    names = connection.tenants(tenants, environ)
    configured = settings.load(SdkSettings, "sdk", {}, environ)
    deadline = asyncio.get_running_loop().time() + configured.connect_s
    turnstile = suspects.Turnstile()
    async with contextlib.AsyncExitStack() as stack:
        replicas: list[Replica] = []
        for name in names:
            spine, join = await _entered(stack, desk.Who(name, app.name), configured, deadline)
            replicas.append(Replica(app, name, spine, period_s=configured.heartbeat_s, turnstile=turnstile, join=join))
        pages, looking = probes.Probes(lambda: _state(replicas)), vitals.watch()
        if configured.probe_port:
            await pages.start(configured.probe_host, configured.probe_port)
        try:
            for replica in replicas:
                await _start(replica, deadline)
            _log.info("app listens", app=app.name, consumers=[replica.policy.name for replica in replicas])
            _tell(configured.ready_fd)
            await asyncio.Event().wait()
        finally:
            _log.info("app drains", app=app.name)
            await _drain(replicas, configured.drain_s)
            pages.close()
            looking.stop()
            _log.info("app stopped", app=app.name)


def _state(replicas: Sequence[Replica]) -> Mapping[str, bool]:
    """For which tenants this process answers, and whether it does so now."""
    return {replica.tenant: replica.connected and replica.listening for replica in replicas}


async def _entered(
    stack: contextlib.AsyncExitStack, who: desk.Who, configured: SdkSettings, deadline: float
) -> tuple[ports.Spine, desk.Join | None]:
    """A connection for one tenant, closed with the stack, and how its app joins where it may not do so itself."""
    found = await _login(who.tenant, deadline)
    there = spine_nats.NatsSpine.address(
        found.url.reveal(), found.nats, user=found.user, password=found.password.reveal(), name=f"app {who.app}"
    )
    spine, join = await spine_nats.enter(there, who, wait_s=configured.connect_s)
    stack.push_async_callback(spine.close)
    return spine, join


async def _login(tenant: ids.TenantId, deadline: float) -> connection.Connection:
    """The tenant's login; that of a tenant that was just made gets until `deadline` to appear."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            return connection.find(os.environ, tenant)
        except errors.Unavailable as error:
            if error.code != "no_login" or loop.time() > deadline:
                raise
            await asyncio.sleep(TRY_AGAIN_S)


async def _start(replica: Replica, deadline: float) -> None:
    """Start; the core may be starting at the same time, so what is not there yet gets until `deadline` to appear."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            await replica.start()
            return
        except errors.Unavailable as error:
            if loop.time() > deadline:
                raise
            await asyncio.sleep(min(TRY_AGAIN_S, error.after_s))


def _tell(ready_fd: int) -> None:
    """Tell whoever started us that messages sent from now on are answered, if they want to know."""
    if ready_fd:
        with contextlib.suppress(OSError):
            os.write(ready_fd, b"\n")
            os.close(ready_fd)


async def _drain(replicas: Sequence[Replica], drain_s: float) -> None:
    """All at once, and not for ever: without a bus nothing can be given back, and leases run out by themselves."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(drain_s + LAST_WORDS_S):
            await asyncio.gather(*(replica.drain(drain_s) for replica in replicas))
