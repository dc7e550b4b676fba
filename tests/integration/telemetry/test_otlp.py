"""Spans leave for a collector, and one that is away, slow or choosy costs spans and nothing else."""

import contextlib
import socket
import time

import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from penstock.base import context as contexts
from penstock.base import errors, ids, otlp, recording, settings, telemetry, telemetry_settings
from tests.integration.telemetry import collector as collectors

TENANT = ids.TenantId("acme")


@pytest.fixture
def collector():
    with collectors.Collector() as made:
        yield made


@pytest.fixture
def exporter(collector):
    made = otlp.Exporter(f"{collector.url}/v1/traces", {"api-key": "k"}, {"service.name": "tested", "empty": ""})
    yield made
    made.close(5.0)


def _count(name: str) -> float:
    wanted = f'penstock_spans_total{{outcome="{name}"}} '
    lines = [line for line in telemetry.exposition().decode().splitlines() if line.startswith(wanted)]
    return float(lines[0].removeprefix(wanted)) if lines else 0.0


def record(tracer: otlp.Recorder, name: str = "work", context: contexts.Context | None = None) -> contexts.Context:
    with tracer.span(name, context or contexts.start(TENANT), "client", {"room": "x", "n": 3}) as inner:
        return inner


def test_a_span_arrives_with_its_place_its_owner_and_what_failed(collector, exporter):
    tracer, context = otlp.Recorder(exporter), contexts.start(TENANT, correlation_id="c-1")
    with contextlib.suppress(errors.Rejected), tracer.span("outer", context, "server", {}) as outer:
        inner = record(tracer, "inner", outer)
        raise errors.Rejected("no_room", "there is no room for Bonzo")
    exporter.close(5.0)
    inner_span, outer_span = collector.spans
    assert (outer_span.parent, outer_span.id, inner_span.parent) == (context.span_id, outer.span_id, outer.span_id)
    assert (inner_span.id, inner_span.trace, outer_span.trace) == (inner.span_id, context.trace_id, context.trace_id)
    assert (outer_span.kind, inner_span.kind, outer_span.service) == ("server", "client", "tested")
    assert dict(inner_span.attributes) == {
        "penstock.tenant": "acme",
        "penstock.correlation_id": "c-1",
        "penstock.room": "x",
        "penstock.n": 3,
    }
    assert (outer_span.error, outer_span.attributes["error.type"], inner_span.error) == ("no_room", "no_room", "")
    assert "Bonzo" not in str(collector.spans)
    assert collector.headers[0]["api-key"] == "k"
    assert collector.headers[0]["content-type"] == "application/x-protobuf"
    assert collector.resources == [{"service.name": "tested"}]


def test_a_trace_is_whole_or_not_there_whoever_decides(exporter):
    half, none, every = (otlp.Recorder(exporter, share=share) for share in (0.5, 0.0, 1.0))
    contexts_ = [contexts.start(TENANT) for _ in range(200)]
    kept = [context for context in contexts_ if record(half, context=context) != context]
    again = [context for context in contexts_ if record(otlp.Recorder(exporter, share=0.5), context=context) != context]
    assert kept == again
    assert 50 < len(kept) < 150
    assert [context for context in contexts_ if record(none, context=context) != context] == []
    assert [context for context in contexts_ if record(every, context=context) == context] == []
    unsampled = contexts_[0]._replace(sampled=False)
    assert record(every, context=unsampled) == unsampled


def test_what_an_unwell_collector_was_to_get_it_gets_later(collector, exporter):
    collector.status = 503
    record(otlp.Recorder(exporter))
    collector.until(lambda: len(collector.headers) >= 2, "asked again")
    assert collector.spans == []
    collector.status = 200
    collector.until(lambda: len(collector.spans) == 1, "taken in the end")


def test_what_a_collector_refuses_is_not_sent_again(collector, exporter):
    before = _count("refused")
    collector.status = 400
    record(otlp.Recorder(exporter))
    collector.until(lambda: len(collector.headers) == 1, "refused")
    exporter.close(5.0)
    assert (len(collector.headers), _count("refused") - before) == (1, 1.0)


def test_a_part_that_is_refused_is_counted(collector, exporter):
    refused, sent = _count("refused"), _count("sent")
    answer = trace_service_pb2.ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 2
    collector.answer = answer.SerializeToString()
    for _ in range(3):
        record(otlp.Recorder(exporter))
    exporter.close(5.0)
    assert (_count("refused") - refused, _count("sent") - sent) == (2.0, 1.0)


def test_without_a_collector_nothing_waits_and_what_does_not_fit_is_counted():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/v1/traces"  # accepts, and never answers
        exporter, before = otlp.Exporter(address, {}, {"service.name": "tested"}), _count("dropped")
        more = 100
        for _ in range(otlp.MOST_WAITING + more):
            exporter.add(b"")
        assert _count("dropped") - before == more
        begun = time.monotonic()
        exporter.close(0.2)
        assert time.monotonic() - begun < collectors.WITHIN_S
        assert _count("dropped") - before >= otlp.MOST_WAITING


async def test_a_process_records_between_start_and_drain_and_sends_the_rest_then(collector):
    configured = telemetry_settings.TelemetrySettings(otlp_endpoint=collector.url)
    async with recording.recording(configured, "penstock", roles="inbound state"):
        assert telemetry.tracing()
        with telemetry.span("work", contexts.start(TENANT)):
            pass
    assert not telemetry.tracing()
    assert [span.name for span in collector.spans] == ["work"]
    (resource,) = collector.resources
    assert (resource["service.name"], resource["penstock.roles"]) == ("penstock", "inbound state")
    assert resource["service.instance.id"]


async def test_without_an_endpoint_no_span_is_made():
    async with recording.recording(telemetry_settings.TelemetrySettings(), "penstock"):
        assert not telemetry.tracing()


async def test_headers_that_are_none_are_refused_before_anything_runs(collector):
    wrong = telemetry_settings.TelemetrySettings(
        otlp_endpoint=collector.url, otlp_headers=settings.Secret("api-key=sec\nret")
    )
    with pytest.raises(errors.Rejected) as refused:
        async with recording.recording(wrong, "penstock"):
            pass
    assert "sec" not in str(refused.value).replace("secret", "")
    assert telemetry.tracing() is False
