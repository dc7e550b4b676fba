"""Spans leave for a collector as OTLP over HTTP, and nothing that is recorded can slow down or fail what it records.

A span is encoded where it ends, and waits in a queue with a bound; a thread of its own posts what has gathered.
While the collector is away the queue fills, what does not fit is counted and gone, and the work goes on as if nobody
watched. OpenTelemetry's own SDK does the same for four times the CPU (docs/explanation/performance.md), so only its
messages are used. The wire: https://opentelemetry.io/docs/specs/otlp/ and `opentelemetry.proto.trace.v1`.
"""

import collections
import contextlib
import functools
import http.client
import itertools
import random
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from penstock.base import context as contexts
from penstock.base import telemetry

MOST_WAITING: Final = 20_000
"""Spans that wait at most: about 6 MB, and 40 seconds of a collector that is away at 500 spans a second."""
BATCH: Final = 1_000
"""Spans in one request at most, and how many that wait make the next one leave at once."""
EVERY_S: Final = 1.0
TIMEOUT_S: Final = 5.0
LONGEST_PAUSE_S: Final = 30.0
LONGEST_ANSWER: Final = 65_536

_SPANS: Final = bytes((trace_pb2.ScopeSpans.SPANS_FIELD_NUMBER << 3 | 2,))
_ATTRIBUTES: Final = bytes((trace_pb2.Span.ATTRIBUTES_FIELD_NUMBER << 3 | 2,))
"""Tags of the two fields that are written here and not by the library: both hold messages."""

RETRIED: Final = frozenset({429, 502, 503, 504})
"""Answers after which OTLP asks to send the same again."""

_KINDS: Final[Mapping[str, trace_pb2.Span.SpanKind.ValueType]] = {
    "internal": trace_pb2.Span.SPAN_KIND_INTERNAL,
    "server": trace_pb2.Span.SPAN_KIND_SERVER,
    "client": trace_pb2.Span.SPAN_KIND_CLIENT,
    "producer": trace_pb2.Span.SPAN_KIND_PRODUCER,
    "consumer": trace_pb2.Span.SPAN_KIND_CONSUMER,
}

_log = telemetry.logger("base.otlp")

spans = telemetry.counter(
    "penstock_spans_total",
    labels=("outcome",),
    meaning="Spans by what became of them: sent, dropped (too many waited for the collector), refused (it does not "
    "want them).",
    remedy="dropped: the collector is away or too slow; the work is not held up. refused: read the log line 'the "
    "collector refuses spans'. Record fewer with telemetry.otlp_share.",
)


class Exporter:
    """A bounded queue of encoded spans, and the thread that posts them. `resource` says whose spans they are."""

    def __init__(self, url: str, headers: Mapping[str, str], resource: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        self._secure, self._host, self._port = parts.scheme == "https", parts.hostname or "", parts.port
        self._path = parts.path
        self._headers = {**headers, "content-type": "application/x-protobuf", "user-agent": "penstock"}
        self._resource = [attribute(name, value) for name, value in resource.items() if value]
        self._waiting: collections.deque[bytes] = collections.deque()
        self._connection: http.client.HTTPConnection | None = None
        self._wake, self._closing, self._give_up_at_s = threading.Event(), False, float("inf")
        self._well = True
        self._thread = threading.Thread(target=self._run, name="otlp", daemon=True)
        self._thread.start()

    def add(self, encoded: bytes) -> None:
        """Take a span, as the bytes of a `ScopeSpans` with this one in it. Never waits."""
        if len(self._waiting) >= MOST_WAITING:
            spans.labels("dropped").inc()
            return
        self._waiting.append(encoded)
        if len(self._waiting) == BATCH:
            self._wake.set()

    def close(self, timeout_s: float = 2.0) -> None:
        """Send what waits, for so long; what is left then is dropped. Blocks: call it off the event loop."""
        self._give_up_at_s = time.monotonic() + timeout_s
        self._closing = True
        self._wake.set()
        self._thread.join(timeout_s)
        if left := len(self._waiting):
            spans.labels("dropped").inc(left)

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(EVERY_S)
            self._wake.clear()
            self._send_all()
        self._send_all()
        self._hang_up()

    def _send_all(self) -> None:
        failures = 0
        while self._waiting and time.monotonic() < self._give_up_at_s:
            batch = list(itertools.islice(self._waiting.copy(), BATCH))
            pause_s = self._post(batch)
            if pause_s is None:
                failures = 0
                for _ in batch:
                    self._waiting.popleft()
                continue
            failures += 1
            grown_s = min(LONGEST_PAUSE_S, 0.5 * 2 ** min(failures, 16)) * random.uniform(0.5, 1.0)  # noqa: S311
            self._pause(min(LONGEST_PAUSE_S, max(pause_s, grown_s)))

    def _pause(self, pause_s: float) -> None:
        """Wait before the same is sent again; whoever closes does not wait for it."""
        until_s = time.monotonic() + pause_s
        while not self._closing and (left_s := until_s - time.monotonic()) > 0:
            self._wake.wait(left_s)
            self._wake.clear()
        if self._closing:
            time.sleep(max(0.0, min(0.1, self._give_up_at_s - time.monotonic())))

    def _post(self, batch: list[bytes]) -> float | None:
        """One request; None when nothing more is to be done with the batch, else the seconds to wait at least."""
        try:
            status, after_s, answer = self._exchange(self._body(batch))
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._hang_up()
            self._tell(well=False, code=type(error).__name__)
            return 0.0
        if status in RETRIED:
            self._tell(well=False, code=str(status))
            return after_s
        if not 200 <= status < 300:
            spans.labels("refused").inc(len(batch))
            self._tell(well=False, code=str(status), refused=True)
            return None
        refused = min(len(batch), max(0, rejected(answer)))
        spans.labels("refused").inc(refused)
        spans.labels("sent").inc(len(batch) - refused)
        self._tell(well=not refused, code="partial_success", refused=True)
        return None

    def _body(self, batch: list[bytes]) -> bytes:
        request = trace_service_pb2.ExportTraceServiceRequest()
        of_us = request.resource_spans.add()
        of_us.resource.attributes.extend(self._resource)
        scope = of_us.scope_spans.add()
        scope.scope.name = "penstock"
        scope.MergeFromString(b"".join(batch))  # messages that follow each other are one with all of their parts
        return request.SerializeToString()

    def _exchange(self, body: bytes) -> tuple[int, float, bytes]:
        if self._connection is None:
            if self._secure:
                tls = ssl.create_default_context()
                self._connection = http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT_S, context=tls)
            else:
                self._connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        self._connection.request("POST", self._path, body, self._headers)
        response = self._connection.getresponse()
        answer = response.read(LONGEST_ANSWER)
        if not response.isclosed():
            self._hang_up()  # more than anybody has to say: the rest is not waited for
        after = response.headers.get("retry-after", "")
        return response.status, float(after) if after.isascii() and after.isdigit() else 0.0, answer

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()

    def _tell(self, *, well: bool, code: str, refused: bool = False) -> None:
        """A line when it begins and when it ends, none in between."""
        if well != self._well:
            self._well = well
            if well:
                _log.info("the collector takes spans again")
            else:
                what = "the collector refuses spans" if refused else "the collector is away"
                _log.warning(what, host=self._host, code=code)


class Recorder:
    """A `telemetry.Tracer`: spans of the share of traces that `share` says, handed to an exporter as they end."""

    def __init__(self, exporter: Exporter, *, share: float = 1.0) -> None:
        self._add = exporter.add
        self._below = round(share * (1 << 56))

    def span(
        self, name: str, parent: contexts.Context, kind: telemetry.Kind, attributes: Mapping[str, str | int]
    ) -> contextlib.AbstractContextManager[contexts.Context]:
        """As `telemetry.Tracer.span`; nothing is recorded of a trace whose caller, or whose share, says so."""
        # The last seven bytes of a trace id are random (https://www.w3.org/TR/trace-context-2/#random-trace-id-flag).
        if not parent.sampled or int(parent.trace_id[18:], 16) >= self._below:
            return contextlib.nullcontext(parent)
        return _Span(self._add, name, parent, kind, attributes)


class _Span:
    """One span between entry and exit."""

    __slots__ = ("_add", "_attributes", "_begun_ns", "_context", "_kind", "_name", "_parent", "_started_ns")

    def __init__(
        self,
        add: Callable[[bytes], None],
        name: str,
        parent: contexts.Context,
        kind: telemetry.Kind,
        attributes: Mapping[str, str | int],
    ) -> None:
        self._add, self._name, self._parent, self._kind, self._attributes = add, name, parent, kind, attributes

    def __enter__(self) -> contexts.Context:
        self._context = self._parent.at_span(contexts.new_span_id())
        self._started_ns, self._begun_ns = time.time_ns(), time.perf_counter_ns()
        return self._context

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        parent, started_ns = self._parent, self._started_ns
        span = trace_pb2.Span(
            trace_id=bytes.fromhex(parent.trace_id),
            span_id=bytes.fromhex(self._context.span_id),
            parent_span_id=bytes.fromhex(parent.span_id),
            flags=1,
            name=self._name,
            kind=_KINDS[self._kind],
            start_time_unix_nano=started_ns,
            end_time_unix_nano=started_ns + time.perf_counter_ns() - self._begun_ns,
        )
        attributes = [_own("tenant", parent.tenant), _own("correlation_id", parent.correlation_id)]
        attributes += [_own(name, value) for name, value in self._attributes.items()]
        if isinstance(error, Exception):
            failure = telemetry.failure_of(error)
            span.status.code, span.status.message = trace_pb2.Status.STATUS_CODE_ERROR, failure
            attributes.append(_encoded("error.type", failure))
        # Fields of a message may follow each other in any order, and what was encoded before need not be again.
        self._add(_field(_SPANS, span.SerializeToString() + b"".join(attributes)))


def attribute(name: str, value: str | int) -> common_pb2.KeyValue:
    """One attribute; a text that is no Unicode is made one."""
    if isinstance(value, int):
        return common_pb2.KeyValue(key=name, value=common_pb2.AnyValue(int_value=value))
    try:
        return common_pb2.KeyValue(key=name, value=common_pb2.AnyValue(string_value=value))
    except ValueError:
        mended = value.encode("utf-8", "replace").decode()
        return common_pb2.KeyValue(key=name, value=common_pb2.AnyValue(string_value=mended))


@functools.lru_cache(maxsize=4096)
def _own(name: str, value: str | int) -> bytes:
    return _encoded(telemetry.PREFIX + name, value)


@functools.lru_cache(maxsize=256)
def _encoded(name: str, value: str | int) -> bytes:
    """One attribute as a field of a span."""
    return _field(_ATTRIBUTES, attribute(name, value).SerializeToString())


def _field(tag: bytes, body: bytes) -> bytes:
    """A field that holds a message: its tag, its length, itself (https://protobuf.dev/programming-guides/encoding/)."""
    length, parts = len(body), bytearray(tag)
    while length > 0x7F:
        parts.append(length & 0x7F | 0x80)
        length >>= 7
    parts.append(length)
    return bytes(parts) + body


def rejected(answer: bytes) -> int:
    """How many spans a collector says that it did not take."""
    try:
        return trace_service_pb2.ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans
    except DecodeError:
        return 0
