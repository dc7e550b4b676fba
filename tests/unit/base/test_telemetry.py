"""Log lines are JSON with the bound ids, spans move a context down its trace, and neither can end what it watches."""

import asyncio
import io
import json
import logging

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from penstock.base import context as contexts
from penstock.base import ids, telemetry


@pytest.fixture
def lines():
    """Configures logs into a text; call it for the lines as documents."""
    stream = io.StringIO()
    telemetry.configure_logs(level="info", stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.reset_defaults()
    logging.getLogger().handlers = [each for each in logging.getLogger().handlers if "_Bridge" not in repr(each)]
    logging.getLogger().setLevel(logging.WARNING)


@pytest.fixture
def spans():
    """Records spans; call it for those that ended."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    telemetry.trace_with(provider)
    yield exporter.get_finished_spans
    telemetry.trace_with(None)
    provider.shutdown()


@pytest.fixture
def context():
    return contexts.start(ids.TenantId("acme"), correlation_id="c-1")


def test_a_line_is_one_json_object_with_the_bound_ids(lines, context):
    log = telemetry.logger("some.place")
    with telemetry.bound(context):
        log.info("something happened", count=3, text="two\nlines \x1b[31m")
    log.warning("outside")
    inside, outside = lines()
    assert (inside["message"], inside["source"], inside["level"], inside["count"]) == (
        "something happened",
        "some.place",
        "info",
        3,
    )
    assert (inside["tenant"], inside["correlation_id"], inside["trace_id"]) == ("acme", "c-1", context.trace_id)
    assert inside["timestamp"].endswith("Z")
    assert "tenant" not in outside


def test_the_inner_context_is_bound_and_then_the_outer_one_again(lines, context):
    other = contexts.start(ids.TenantId("globex"))
    with telemetry.bound(context):
        with telemetry.bound(other):
            telemetry.logger("x").info("inner")
        telemetry.logger("x").info("outer")
        telemetry.logger("x").info("own word", tenant="initech")
    assert [line["tenant"] for line in lines()] == ["globex", "acme", "initech"]


def test_what_is_less_important_is_not_written(lines):
    telemetry.logger("x").debug("quiet")
    assert lines() == []


def test_an_error_is_written_with_its_traceback(lines):
    try:
        raise ValueError("odd")
    except ValueError as error:
        telemetry.logger("x").error("failed", exc_info=error)
    (line,) = lines()
    assert "ValueError: odd" in line["exception"]


def test_what_libraries_and_authors_say_is_such_a_line_too(lines, context):
    with telemetry.bound(context):
        logging.getLogger("moody").info("heard %s", "it")
        try:
            raise ValueError("odd")
        except ValueError:
            logging.getLogger("moody").exception("failed")
    logging.getLogger("moody").debug("quiet")
    logging.getLogger("moody").log(25, "a level of one's own")
    said, failed, odd = lines()
    assert (said["source"], said["message"], said["level"], said["tenant"]) == ("moody", "heard it", "info", "acme")
    assert said["trace_id"] == context.trace_id
    assert "ValueError: odd" in failed["exception"]
    assert (odd["level"], "tenant" in odd) == ("info", False)


def test_a_library_that_tells_every_request_is_heard_when_something_is_wrong(lines):
    logging.getLogger("httpx").info("HTTP Request: POST https://example.org/bot-token")
    logging.getLogger("httpx").warning("away")
    assert [line["message"] for line in lines()] == ["away"]


def test_a_line_that_cannot_be_made_ends_nobody(lines):
    class Odd:
        def __str__(self):
            raise RuntimeError

    before, logging.raiseExceptions = logging.raiseExceptions, False
    try:
        logging.getLogger("moody").info(Odd())
    finally:
        logging.raiseExceptions = before
    assert lines() == []


def test_a_context_is_bound_for_the_rest_of_a_task(lines, context):
    async def work():
        telemetry.bind(context)
        telemetry.logger("x").info("inside")
        assert telemetry.current() is context

    asyncio.run(work())
    telemetry.logger("x").info("outside")
    assert ["tenant" in line for line in lines()] == [True, False]
    assert telemetry.current() is None


def test_a_reader_that_left_does_not_end_what_wants_to_log():
    class Left(io.StringIO):
        def write(self, _):
            raise BrokenPipeError

        def flush(self):
            raise BrokenPipeError

    telemetry.configure_logs(stream=Left())
    try:
        assert telemetry.logger("x").info("nobody hears") is None
    finally:
        structlog.reset_defaults()


def test_without_a_provider_a_span_leaves_the_context_alone(context):
    telemetry.trace_with(None)
    with telemetry.span("something", context) as inside:
        assert inside is context
    assert not telemetry.tracing()


def test_a_span_moves_the_context_one_hop_down_its_trace(spans, context):
    with telemetry.span("outer", context) as outer, telemetry.span("inner", outer, kind="producer", thing="x") as inner:
        assert {outer.trace_id, inner.trace_id} == {context.trace_id}
    first, second = spans()
    assert (first.name, second.name) == ("inner", "outer")
    assert f"{second.parent.span_id:016x}" == context.span_id
    assert f"{first.parent.span_id:016x}" == outer.span_id
    assert f"{first.context.span_id:016x}" == inner.span_id
    assert first.attributes["penstock.tenant"] == "acme"
    assert first.attributes["penstock.thing"] == "x"


def test_an_error_marks_its_span_without_repeating_what_was_said(spans, context):
    with pytest.raises(ValueError, match="my secret"), telemetry.span("x", context):
        raise ValueError("my secret")
    (span,) = spans()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "ValueError")
    assert span.events == ()


def test_a_trace_that_is_not_sampled_stays_so(spans, context):
    with telemetry.span("x", contexts.from_headers(context.tenant, {"traceparent": context.traceparent[:-2] + "00"})):
        pass
    assert spans() == ()
