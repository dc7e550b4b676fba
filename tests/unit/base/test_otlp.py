"""Whatever a span is about, its bytes say the same to OpenTelemetry's own parser. (Sending: `tests/integration`.)"""

import hypothesis
from hypothesis import strategies
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from penstock.base import context as contexts
from penstock.base import errors, ids, otlp

KINDS = ("internal", "server", "client", "producer", "consumer")
NAMES = strategies.text("abcdefghij_", min_size=1, max_size=12)
VALUES = strategies.one_of(strategies.text(max_size=200), strategies.integers(-(2**63), 2**63 - 1))


class Kept:
    """An exporter that keeps what it gets."""

    def __init__(self) -> None:
        self.encoded: list[bytes] = []

    def add(self, encoded: bytes) -> None:
        self.encoded.append(encoded)


@hypothesis.given(
    name=strategies.text(max_size=300),
    kind=strategies.sampled_from(KINDS),
    attributes=strategies.dictionaries(NAMES, VALUES, max_size=8),
    fails=strategies.booleans(),
)
def test_every_span_is_read_as_what_it_was(name, kind, attributes, fails):
    kept, parent = Kept(), contexts.start(ids.TenantId("acme"), correlation_id="c-1")
    name, attributes = name.encode("utf-8", "replace").decode(), {f"x{key}": value for key, value in attributes.items()}
    try:
        with otlp.Recorder(kept).span(name, parent, kind, attributes) as inner:
            if fails:
                raise errors.Poisoned("bitter", "not said")
    except errors.Poisoned:
        assert fails
    (span,) = trace_pb2.ScopeSpans.FromString(kept.encoded[0]).spans
    assert (span.name, otlp._KINDS[kind]) == (name, span.kind)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (parent.trace_id, parent.span_id)
    assert span.span_id.hex() == inner.span_id != parent.span_id
    assert span.end_time_unix_nano >= span.start_time_unix_nano > 0
    told = {
        one.key: one.value.string_value if one.value.HasField("string_value") else one.value.int_value
        for one in span.attributes
    }
    wanted = {
        f"penstock.{key}": value for key, value in {"tenant": "acme", "correlation_id": "c-1", **attributes}.items()
    }
    assert told == wanted | ({"error.type": "bitter"} if fails else {})
    assert (span.status.code == trace_pb2.Status.STATUS_CODE_ERROR, span.status.message) == (fails, "bitter" * fails)


@hypothesis.given(strategies.binary(max_size=40_000))
def test_a_field_is_as_long_as_it_says(body):
    scope = trace_pb2.ScopeSpans()
    scope.scope.name = body.hex()
    inner = scope.SerializeToString()
    tag = bytes((trace_pb2.ResourceSpans.SCOPE_SPANS_FIELD_NUMBER << 3 | 2,))
    assert trace_pb2.ResourceSpans.FromString(otlp._field(tag, inner)).scope_spans[0] == scope


def test_a_text_that_is_no_unicode_is_made_one():
    kept, parent = Kept(), contexts.start(ids.TenantId("acme"))
    with otlp.Recorder(kept).span("work", parent, "client", {"room": "a\ud800b"}):
        pass
    (span,) = trace_pb2.ScopeSpans.FromString(kept.encoded[0]).spans
    assert [one.value.string_value for one in span.attributes if one.key == "penstock.room"] == ["a?b"]


def test_what_is_no_answer_refuses_nothing():
    answer = trace_service_pb2.ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 3
    assert [otlp.rejected(body) for body in (b"", b"\xff", answer.SerializeToString())] == [0, 0, 3]
