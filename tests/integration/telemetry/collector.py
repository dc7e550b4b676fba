"""An OpenTelemetry collector on loopback, in a thread of its own: keeps the spans that processes send it, or is ill."""

import dataclasses
import http.server
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

WITHIN_S = 40.0


@dataclasses.dataclass(frozen=True)
class Span:
    """One span as it arrived; ids in hex, `parent` empty at the beginning of a trace."""

    service: str
    name: str
    kind: str
    trace: str
    id: str
    parent: str
    seconds: float
    error: str
    attributes: Mapping[str, Any]


class Collector:
    """Listens from `start` to `close`. `status` is what it answers, `headers` what came with each request."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.headers: list[Mapping[str, str]] = []
        self.resources: list[Mapping[str, str]] = []
        self.status, self.answer = 200, b""
        self._news = threading.Condition()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                outer._take(self.path, dict(self.headers), self.rfile.read(int(self.headers["content-length"])))
                self.send_response(outer.status)
                self.send_header("content-length", str(len(outer.answer)))
                self.end_headers()
                self.wfile.write(outer.answer)

            def log_message(self, *_: object) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> "Collector":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _take(self, path: str, headers: Mapping[str, str], body: bytes) -> None:
        assert path == "/v1/traces"
        request = trace_service_pb2.ExportTraceServiceRequest.FromString(body)
        with self._news:
            self.headers.append({name.lower(): value for name, value in headers.items()})
            if self.status == 200:
                for group in request.resource_spans:
                    resource = {one.key: one.value.string_value for one in group.resource.attributes}
                    self.resources.append(resource)
                    of_scopes = (span for scope in group.scope_spans for span in scope.spans)
                    self.spans += [_span(resource["service.name"], span) for span in of_scopes]
            self._news.notify_all()

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something that arrives. Raises AssertionError when it does not."""
        deadline = time.monotonic() + WITHIN_S
        with self._news:
            while not condition():
                left_s = deadline - time.monotonic()
                assert left_s > 0, f"{what}; there are {[(span.service, span.name) for span in self.spans]}"
                self._news.wait(min(left_s, 1.0))

    def of_trace(self, trace: str) -> list[Span]:
        """The spans of one trace, as they came."""
        return [span for span in self.spans if span.trace == trace]


def _span(service: str, span: trace_pb2.Span) -> Span:
    assert len(span.trace_id) == 16
    assert len(span.span_id) == 8
    values = ((one.key, one.value.string_value or one.value.int_value) for one in span.attributes)
    return Span(
        service,
        span.name,
        trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
        span.status.message if span.status.code == trace_pb2.Status.STATUS_CODE_ERROR else "",
        dict(values),
    )
