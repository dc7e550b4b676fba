"""An app's process as its surroundings see it: how it starts, what it shows, and how it says that it cannot."""

import asyncio
import json
import os
import socket
import urllib.request
from pathlib import Path

from penstock.messages.v1 import heartbeat_pb2
from penstock.spine import ports, route
from tests import loopback
from tests.integration.sdk import stage as stages


async def end_of(environ: dict[str, str]) -> tuple[int, str]:
    """Exit code and the one line of an app that cannot start; log lines aside."""
    async with stages.replica(stages.ECHO, environ) as app:
        code, said = await app.ended()
    plain = [line for line in said if not line.startswith("{")]
    assert len(plain) == 1, said
    return code, plain[0]


async def test_it_finds_the_running_installation(stage: stages.Stage, tmp_path: Path) -> None:
    logins = tmp_path / "run" / "apps"
    logins.mkdir(parents=True)
    known = {"nats_url": stage.endpoint.url, "nats_user": stage.endpoint.user, "nats_password": stage.endpoint.password}
    (logins / f"{stage.tenant}.json").write_text(json.dumps(known))
    environ = stages.environment(PENSTOCK_DATA=str(tmp_path), PENSTOCK_TENANT=stage.tenant)
    async with stages.replica(stages.ECHO, environ) as app:
        await app.ready()
        await stage.say("room", "hello")
        (answer,) = await stage.answers(1)
        assert answer.text == "You said: hello"
        assert await app.stop() == 0
        assert stage.endpoint.password not in "".join(app.said)


async def test_the_reply_is_of_the_same_trace_and_correlation(stage: stages.Stage) -> None:
    async with stage.run() as app:
        await app.ready()
        context = await stage.say("room", "hello")
        await stage.answers(1)
    headers = stage.deliveries[0].headers
    assert headers["x-correlation-id"] == context.correlation_id
    assert headers["traceparent"].split("-")[1] == context.trace_id


async def test_it_says_that_it_is_there_and_that_it_stops(stage: stages.Stage) -> None:
    beats: list[heartbeat_pb2.Heartbeat] = []

    async def keep(signal: ports.Signal) -> None:
        beats.append(route.HEARTBEAT.decode(signal.headers, signal.body))

    listener = await stage.spine.listen(f"penstock.heartbeat.app_{stage.tenant}_echo.*", keep)
    async with stage.run(PENSTOCK_SDK__HEARTBEAT_S="0.1") as app:
        await app.ready()
        await stages.until(lambda: len(beats) >= 3)
        assert await app.stop() == 0
        await stages.until(lambda: beats[-1].state == heartbeat_pb2.HEARTBEAT_STATE_STOPPING)
    await listener.close()
    assert beats[0].state == heartbeat_pb2.HEARTBEAT_STATE_READY
    assert beats[0].component == f"app_{stage.tenant}_echo"
    assert beats[0].period_ms == 100
    assert len({beat.instance for beat in beats}) == 1


async def test_health_and_metrics_on_a_port_of_their_own(stage: stages.Stage) -> None:
    port = loopback.free_port()

    def ask(path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.read().decode()

    async with stage.run(PENSTOCK_SDK__PROBE_PORT=str(port)) as app:
        await app.ready()
        assert await asyncio.to_thread(ask, "/health") == "ok\n"
        await stage.say("room", "hello")
        await stage.answers(1)
        page = await asyncio.to_thread(ask, "/metrics")
    assert 'penstock_app_commands_total{act="reply",app="echo"} 1.0' in page


async def test_a_port_that_is_taken(stage: stages.Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = await end_of(stage.environ(PENSTOCK_SDK__PROBE_PORT=str(port)))
    assert code == 2
    assert said.startswith(f"penstock: cannot listen on 127.0.0.1:{port}")


async def test_who_started_it_is_told_when_it_listens(stage: stages.Stage) -> None:
    told, tell = os.pipe()
    environ = stage.environ(PENSTOCK_SDK__READY_FD=str(tell), PENSTOCK_SDK__LOG_LEVEL="error")
    async with stages.replica(stages.ECHO, environ, pass_fds=(tell,)):
        os.close(tell)
        assert await asyncio.to_thread(os.read, told, 10) == b"\n"
        await stage.say("room", "hello")
        assert len(await stage.answers(1)) == 1
    os.close(told)


async def test_wrong_credentials(stage: stages.Stage) -> None:
    environ = stages.environment(
        PENSTOCK_NATS_URL=stage.endpoint.url,
        PENSTOCK_NATS_USER="somebody",
        PENSTOCK_NATS_PASSWORD="open-sesame",
        PENSTOCK_TENANT=stage.tenant,
    )
    code, said = await end_of(environ)
    assert code == 3
    assert "refuses the credentials" in said
    assert "open-sesame" not in said


async def test_no_server() -> None:
    environ = stages.environment(
        PENSTOCK_NATS_URL=f"nats://user:open-sesame@127.0.0.1:{loopback.free_port()}",
        PENSTOCK_TENANT="acme",
        PENSTOCK_SDK__CONNECT_S="0.5",
    )
    code, said = await end_of(environ)
    assert code == 75
    assert "does not answer" in said
    assert "open-sesame" not in said


async def test_a_bus_without_the_core(fresh_nats) -> None:
    environ = stages.environment(
        PENSTOCK_NATS_URL=fresh_nats.url_with_credentials(), PENSTOCK_TENANT="acme", PENSTOCK_SDK__CONNECT_S="2"
    )
    code, said = await end_of(environ)
    assert code == 75
    assert said.startswith("penstock: the bus has no stream MESSAGES_INBOUND yet. Start the core first")


async def test_no_tenant(stage: stages.Stage) -> None:
    code, said = await end_of({**stage.environ(), "PENSTOCK_TENANT": ""})
    assert code == 2
    assert "Set PENSTOCK_TENANT" in said


async def test_sigterm_while_it_looks_for_a_server() -> None:
    environ = stages.environment(
        PENSTOCK_NATS_URL=f"nats://127.0.0.1:{loopback.free_port()}",
        PENSTOCK_TENANT="acme",
        PENSTOCK_SDK__CONNECT_S="600",
    )
    async with stages.replica(stages.ECHO, environ) as app:
        await stages.until(lambda: any('"nats"' in line for line in app.said))
        assert await app.stop() == 0
