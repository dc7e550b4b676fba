"""One conversation is one trace from webhook to reply, and moves the metrics, without its author doing anything."""

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from penstock import sdk
from penstock.base import telemetry
from tests.integration.telemetry import loop

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
CHAIN = (
    "webhook receive",
    "outbox publish",
    "app_acme_parrot handle",
    "app_parrot reply",
    "outbound handle",
    "channel send",
)
PRIVATE = "the dog is called Bonzo"
OURS = {"channel", "account", "room", "stream", "events", "attempt", "delivery"}
"""Attributes besides tenant and correlation: names, ids of ours, and counts."""


@pytest.fixture
def exporter():
    """Spans that ended, recorded for this test alone."""
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    telemetry.trace_with(provider)
    yield kept
    telemetry.trace_with(None)
    provider.shutdown()


def parrot() -> sdk.App:
    app = sdk.App("parrot")

    @app.on_message
    async def answer(message: sdk.Message) -> None:
        await message.reply(f"You said: {message.text}")

    return app


def chain(spans: tuple[ReadableSpan, ...], last: ReadableSpan) -> list[ReadableSpan]:
    """A span and those above it, from the outermost that was recorded."""
    by_id = {span.context.span_id: span for span in spans if span.context}
    found = [last]
    while (parent := found[0].parent) is not None and parent.span_id in by_id:
        found.insert(0, by_id[parent.span_id])
    return found


async def test_a_conversation_is_one_trace_that_continues_the_callers(fresh_postgres, fresh_nats, exporter):
    async with loop.running(parrot(), postgres=fresh_postgres, nats=fresh_nats) as platform:
        platform.headers = {"traceparent": f"00-{TRACE}-{CALLER}-01", "x-correlation-id": "case-7"}
        assert (await platform.say("room", PRIVATE)).ok
        await platform.arrived("room", 1)
    spans = exporter.get_finished_spans()
    sent = [span for span in spans if span.name == "channel send"]
    assert len(sent) == 1
    found = chain(spans, sent[0])
    assert tuple(span.name for span in found) == CHAIN
    assert {f"{span.context.trace_id:032x}" for span in found if span.context} == {TRACE}
    assert f"{found[0].parent.span_id:016x}" == CALLER
    assert not [span.name for span in spans if not span.status.is_ok and not span.status.is_unset]


async def test_every_span_names_tenant_and_correlation_and_nothing_private(fresh_postgres, fresh_nats, exporter):
    async with loop.running(parrot(), postgres=fresh_postgres, nats=fresh_nats) as platform:
        platform.headers = {"x-correlation-id": "case-7"}
        assert (await platform.say("room", PRIVATE, sender="ann@example.test")).ok
        await platform.arrived("room", 1)
    spans = exporter.get_finished_spans()
    assert len(chain(spans, next(span for span in spans if span.name == "channel send"))) == len(CHAIN)
    for span in spans:
        attributes = dict(span.attributes or {})
        assert attributes.pop("penstock.tenant") == "acme", span.name
        assert attributes.pop("penstock.correlation_id") == "case-7", span.name
        assert {name.removeprefix("penstock.") for name in attributes} <= OURS, span.name
        told = f"{span.name} {attributes} {[event.attributes for event in span.events]} {span.status.description}"
        for private in ("Bonzo", "ann@example", "whsec_"):
            assert private not in told


async def test_without_a_callers_trace_one_begins(fresh_postgres, fresh_nats, exporter):
    async with loop.running(parrot(), postgres=fresh_postgres, nats=fresh_nats) as platform:
        for text in ("one", "two"):
            assert (await platform.say("room", text)).ok
        await platform.arrived("room", 2)
    spans = exporter.get_finished_spans()
    found = [chain(spans, span) for span in spans if span.name == "channel send"]
    traces = [{span.context.trace_id for span in one if span.context} for one in found]
    assert [len(trace) for trace in traces] == [1, 1]
    assert traces[0] != traces[1]


async def test_a_trace_that_is_none_is_replaced_and_second_names_are_read(fresh_postgres, fresh_nats, exporter):
    zero, odd = "0" * 32, TRACE.upper()
    broken = [f"00-{zero}-{CALLER}-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{odd}-{CALLER}-01", f"ff-{TRACE}-{CALLER}-01"]
    sent = [*({"traceparent": each} for each in broken), {"trace-id": TRACE}, {"correlation-id": "case-8"}]
    sent.append({"x-correlation-id": "a\tb", "traceparent": f"00-{TRACE}-{CALLER}-00"})
    async with loop.running(parrot(), postgres=fresh_postgres, nats=fresh_nats) as platform:
        for number, headers in enumerate(sent):
            platform.headers = headers
            assert (await platform.say(f"room-{number}", "hello")).ok
            await platform.arrived(f"room-{number}", 1)
    first = [span for span in exporter.get_finished_spans() if span.name == "webhook receive"]
    assert len(first) == len(sent) - 1  # whoever says "not sampled" is heard
    traces = [f"{span.context.trace_id:032x}" for span in first if span.context]
    assert len(set(traces)) == len(traces)
    assert [trace == TRACE for trace in traces] == [False] * 4 + [True, False]
    assert all(trace != zero and trace == trace.lower() for trace in traces)
    assert (first[5].attributes or {})["penstock.correlation_id"] == "case-8"


async def test_a_conversation_moves_the_metrics(fresh_postgres, fresh_nats):
    before = telemetry.exposition()
    async with loop.running(parrot(), postgres=fresh_postgres, nats=fresh_nats) as platform:
        assert (await platform.say("room", PRIVATE)).ok
        await platform.arrived("room", 1)
    moved = loop.moved(before)
    for sample, by in (
        ('penstock_inbound_messages_total{channel="webhook"}', 1),
        ('penstock_inbound_seconds_count{channel="webhook"}', 1),
        ('penstock_outbox_published_total{outcome="new",room="channels",stream="MESSAGES_INBOUND"}', 1),
        ('penstock_deliveries_total{consumer="app_acme_parrot",outcome="acked"}', 1),
        ('penstock_app_events_total{app="parrot",kind="message",outcome="handled"}', 1),
        ('penstock_app_commands_total{act="reply",app="parrot"}', 1),
        ('penstock_app_seconds_count{app="parrot"}', 1),
        ('penstock_deliveries_total{consumer="outbound",outcome="acked"}', 1),
        ('penstock_outbound_commands_total{channel="webhook",outcome="sent"}', 1),
        ('penstock_outbound_seconds_count{channel="webhook"}', 1),
        ('penstock_outbox_published_total{outcome="new",room="channels",stream="RECEIPTS"}', 1),
    ):
        assert moved.get(sample) == by, sample
    assert "Bonzo" not in telemetry.exposition().decode()
