"""One conversation is one trace across core, apps and bus, in an OTLP collector; its log lines all say whose it is."""

import asyncio
import json
import secrets
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from penstock.channels.testing import webhook_sender, webhook_simulator
from penstock.servers import testing as servers
from tests.e2e import installation, processes
from tests.integration.telemetry import collector as collectors

CALLER = "00f067aa0ba902b7"
MOODY = Path(__file__).with_name("moody_app.py")
PRIVATE = ("Bonzo", "ann@example", "whsec_", "over my own feet")
OF_MESSAGES = {"channels.inbound", "channels.outbound", "edge.http", "moody", "spine.suspects", "spine.worker"}
"""Whose lines are always about a message, or about what asked for one."""


class Stage:
    """An installation, a moody app beside it, a platform, and the collector that all processes were told of."""

    def __init__(self, running, app, platform, collector, folder) -> None:
        self.running, self.app, self.platform, self.collector = running, app, platform, collector
        self.mended = folder / "mended"

    async def say(self, text: str, room: str) -> str:
        """Somebody writes; returns the trace that the platform began."""
        trace = secrets.token_hex(16)
        self.platform.headers = {"traceparent": f"00-{trace}-{CALLER}-01", "x-correlation-id": f"case-{room}"}
        assert (await self.platform.say(room, text, sender="ann@example.test")).ok
        return trace

    async def spans(self, trace: str, *last: str) -> list[collectors.Span]:
        """The spans of a trace once each of `last` is there as often as named, and they hang together.

        Each process sends its own within a second.
        """

        def all_there() -> bool:
            spans = self.collector.of_trace(trace)
            names = [span.name for span in spans]
            together = {span.parent for span in spans} - {span.id for span in spans} == {CALLER}
            return together and all(names.count(name) >= last.count(name) for name in last)

        await asyncio.to_thread(self.collector.until, all_there, f"{last} of {trace}")
        return self.collector.of_trace(trace)

    def lines(self) -> list[dict]:
        """Every line of the log, of the core and of the app."""
        return [json.loads(line) for line in (self.running.err + self.app.err).splitlines()]


@pytest.fixture(scope="module")
def folder():
    with servers.temporary_folder() as path:
        yield path
        processes.kill(path)


@pytest.fixture
async def stage(folder) -> AsyncGenerator[Stage]:
    with collectors.Collector() as collector:
        environ = installation.environment(
            folder,
            PENSTOCK_TELEMETRY__OTLP_ENDPOINT=collector.url,
            PENSTOCK_SDK__LOG_LEVEL="info",
            PENSTOCK_TENANT="acme",
            MENDED=str(folder / "mended"),
        )
        secret = webhook_sender.fresh_secret()
        async with installation.up(environ) as running, webhook_simulator.WebhookSimulator([secret]) as platform:
            await running.cli("tenant", "create", "acme")
            code, out, err = await installation.run(
                {**environ, "SHOP": secret},
                *("account", "create", "shop", "-t", "acme", "--set", f"url={platform.url}"),
                *("--secret", "signing=env:SHOP", "--json"),
            )
            assert code == 0, err
            platform.connect(f"{running.http_url}/webhooks/webhook/{json.loads(out)['id']}")
            app = installation.Command(environ, program=(sys.executable, str(MOODY)))
            try:
                await processes.until(lambda: "app listens" in app.err, "the app listens", timeout_s=60)
                yield Stage(running, app, platform, collector, folder)
            finally:
                await app.close()


def told(span: collectors.Span) -> tuple[str, str, str]:
    return span.service, span.kind, span.name


def chain(spans, last) -> list:
    """A span and those above it, outermost first."""
    by_id = {span.id: span for span in spans}
    found = [last]
    while found[0].parent in by_id:
        found.insert(0, by_id[found[0].parent])
    return found


def only(spans, name, **attributes):
    """The one span of that name and these attributes of ours."""
    wanted = {f"penstock.{key}": value for key, value in attributes.items()}
    found = [span for span in spans if span.name == name and wanted.items() <= dict(span.attributes).items()]
    assert len(found) == 1, [told(span) for span in spans]
    return found[0]


TO_APP = [
    ("penstock", "server", "webhook receive"),
    ("penstock", "producer", "outbox publish"),
    ("moody", "consumer", "app_acme_moody handle"),
]
TO_PLATFORM = [
    *TO_APP,
    ("moody", "producer", "app_moody reply"),
    ("penstock", "consumer", "outbound handle"),
    ("penstock", "client", "channel send"),
]


def assert_one_tree(spans, room) -> None:
    """All hang together below the caller's span, name their tenant and correlation, and say nothing private."""
    ids = {span.id for span in spans}
    assert len(ids) == len(spans)
    assert {span.parent for span in spans} - ids == {CALLER}
    for span in spans:
        assert span.attributes["penstock.tenant"] == "acme"
        assert span.attributes["penstock.correlation_id"] == f"case-{room}"
        assert span.seconds >= 0
        assert not [word for word in PRIVATE if word in f"{span}"]


@pytest.mark.timeout(240)
async def test_one_conversation_is_one_trace_across_processes_whatever_happens_to_it(stage) -> None:
    await plain(stage)
    await retried(stage)
    await quarantined_and_redriven(stage)
    lines_say_whose_they_are(stage)


async def plain(stage) -> None:
    trace = await stage.say("the dog is called Bonzo", "plain")
    spans = await stage.spans(trace, "channel send", "outbox publish", "outbox publish")
    assert_one_tree(spans, "plain")
    sent = only(spans, "channel send", channel="webhook")
    assert [told(span) for span in chain(spans, sent)] == TO_PLATFORM
    assert chain(spans, sent)[0].parent == CALLER
    receipt = only(spans, "outbox publish", stream="RECEIPTS")
    assert told(chain(spans, receipt)[-2]) == ("penstock", "consumer", "outbound handle")
    stored = only(spans, "message store", events=1)
    assert told(chain(spans, stored)[-2]) == TO_APP[0]
    assert [span.name for span in spans if span.error] == []
    assert len(spans) == len(TO_PLATFORM) + 2


async def retried(stage) -> None:
    trace = await stage.say("stumble", "retried")
    spans = await stage.spans(trace, "channel send", "app_acme_moody handle", "app_acme_moody handle")
    assert_one_tree(spans, "retried")
    first = only(spans, "app_acme_moody handle", attempt=1)
    second = only(spans, "app_acme_moody handle", attempt=2)
    assert first.parent == second.parent
    assert (first.error, first.attributes["error.type"], second.error) == ("RuntimeError", "RuntimeError", "")
    assert [told(span) for span in chain(spans, only(spans, "channel send"))] == TO_PLATFORM


async def quarantined_and_redriven(stage) -> None:
    trace = await stage.say("poison", "quarantined")
    spans = await stage.spans(trace, "quarantine handle")
    assert_one_tree(spans, "quarantined")
    kept = only(spans, "quarantine handle")
    assert [told(span) for span in chain(spans, kept)] == [
        *TO_APP[:2],
        ("moody", "producer", "quarantine publish"),
        ("penstock", "consumer", "quarantine handle"),
    ]
    assert only(spans, "app_acme_moody handle").error == "too_bitter"
    stage.mended.touch()
    (row,) = await stage.running.cli("quarantine", "ls", "-t", "acme")
    await stage.running.cli("quarantine", "redrive", row["id"], "-t", "acme")
    spans = await stage.spans(trace, "channel send")
    assert_one_tree(spans, "quarantined")
    again = [told(span) for span in chain(spans, only(spans, "channel send"))]
    assert again == [*TO_APP[:2], *TO_PLATFORM[1:]]


def lines_say_whose_they_are(stage) -> None:
    """Every line that is about a message names its tenant, its correlation and its trace."""
    lines = stage.lines()
    assert [line for line in lines if "trace_id" not in line and line["source"] in OF_MESSAGES] == []
    mine = [line for line in lines if "trace_id" in line]
    assert {line["tenant"] for line in mine} == {"acme"}
    assert {line["correlation_id"] for line in mine} == {"case-plain", "case-retried", "case-quarantined"}
    said = {(line["source"], line["message"]) for line in mine}
    assert said >= {("moody", "heard something"), ("spine.worker", "handler failed"), ("spine.worker", "quarantined")}
    assert len({line["trace_id"] for line in mine}) == 3
    told_outside = json.dumps([{**line, "exception": ""} for line in lines])
    assert not [word for word in PRIVATE if word in told_outside]
