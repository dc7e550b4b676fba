"""Logs, spans and metrics: the same three everywhere, and the only home of the libraries behind them.

A log line is one JSON object and carries the tenant, correlation and trace that are bound. A span moves a `Context`
one hop down its trace, exported or not. A metric says what it means and what to do about it, in one list.
"""

import contextlib
import contextvars
import dataclasses
import logging
import sys
from collections.abc import Generator, MutableMapping, Sequence
from typing import Any, Final, Literal, TextIO, cast

import prometheus_client
import structlog
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from penstock.base import context as contexts

FORMAT: Final = prometheus_client.CONTENT_TYPE_LATEST


_current: Final[contextvars.ContextVar[contexts.Context | None]] = contextvars.ContextVar("penstock", default=None)


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose lines carry `source: name`; keyword arguments of its methods become fields."""
    return structlog.stdlib.get_logger(source=name)


class _Lossy:
    """A stream whose reader may leave: a log line that cannot be written must not end what wanted to log it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write, or do not."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        """Flush, or do not."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def configure_logs(*, level: str = "info", stream: TextIO | None = None) -> None:
    """Write one JSON object a line to `stream` (standard error by default), from `level` up."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _add_ids,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Lossy(stream or sys.stderr))),
        cache_logger_on_first_use=False,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Metric:
    """One metric as documented: `labels` in order, what it means, and what to do when it looks wrong."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str
    remedy: str


METRICS: Final[list[Metric]] = []
"""Every metric of the loaded rooms; the reference page is generated from it."""


def counter(name: str, *, labels: Sequence[str] = (), meaning: str, remedy: str) -> prometheus_client.Counter:
    """A number that only grows."""
    METRICS.append(Metric(name, "counter", tuple(labels), meaning, remedy))
    return prometheus_client.Counter(name, meaning, labels)


def gauge(name: str, *, labels: Sequence[str] = (), meaning: str, remedy: str) -> prometheus_client.Gauge:
    """A number that goes up and down."""
    METRICS.append(Metric(name, "gauge", tuple(labels), meaning, remedy))
    return prometheus_client.Gauge(name, meaning, labels)


def histogram(name: str, *, labels: Sequence[str] = (), meaning: str, remedy: str) -> prometheus_client.Histogram:
    """A distribution of seconds."""
    METRICS.append(Metric(name, "histogram", tuple(labels), meaning, remedy))
    edges = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
    return prometheus_client.Histogram(name, meaning, labels, buckets=edges)


def exposition() -> bytes:
    """All metrics in Prometheus' text format."""
    return prometheus_client.generate_latest()


Kind = Literal["internal", "server", "client", "producer", "consumer"]
"""Which side of an exchange a span is, as OpenTelemetry names them."""

_tracer: trace.Tracer | None = None


def trace_with(provider: trace.TracerProvider | None) -> None:
    """Record spans through `provider` from now on; None stops recording (contexts still move along the trace)."""
    global _tracer  # noqa: PLW0603 - one process has one tracer, chosen once in `app`
    _tracer = provider.get_tracer("penstock") if provider else None


def trace_as_configured() -> None:
    """Record spans if the process has an OpenTelemetry provider, set by `opentelemetry-instrument` or by its code."""
    provider = trace.get_tracer_provider()
    none = isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider)
    trace_with(None if none else provider)


def tracing() -> bool:
    """Whether spans are recorded: what is done for them alone can be left undone otherwise."""
    return _tracer is not None


def span(
    name: str, parent: contexts.Context, kind: Kind = "internal", **attributes: Any
) -> contextlib.AbstractContextManager[contexts.Context]:
    """Do something as one span of `parent`'s trace; yields the context to hand on. An exception marks the span.

    Attributes are ids and names: never what somebody wrote, never a secret.
    """
    if _tracer is None:
        return contextlib.nullcontext(parent)
    return _recorded(_tracer, name, parent, kind, attributes)


@contextlib.contextmanager
def _recorded(
    tracer: trace.Tracer, name: str, parent: contexts.Context, kind: Kind, attributes: dict[str, Any]
) -> Generator[contexts.Context]:
    above = SpanContext(
        int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=TraceFlags(int(parent.sampled))
    )
    with tracer.start_as_current_span(
        name,
        context=trace.set_span_in_context(NonRecordingSpan(above)),
        kind=SpanKind[kind.upper()],
        attributes={"penstock.tenant": parent.tenant, "penstock.correlation_id": parent.correlation_id, **attributes},
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield parent.at_span(f"{current.get_span_context().span_id:016x}")
        except Exception as error:
            # The class only: a message may quote what somebody wrote.
            current.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


class _Bound:
    """Between entry and exit a context is the one whose ids log lines carry."""

    __slots__ = ("_context", "_token")

    def __init__(self, context: contexts.Context) -> None:
        self._context = context

    def __enter__(self) -> None:
        self._token = _current.set(self._context)

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)


def bound(context: contexts.Context) -> contextlib.AbstractContextManager[None]:
    """Put the context's ids on every log line written inside."""
    # One variable, looked into when a line is written: most messages are handled without one.
    return _Bound(context)


def _add_ids(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The step of a log line that adds what is bound; what a line says itself stays."""
    context = _current.get()
    if context is not None:
        line.setdefault("tenant", context.tenant)
        line.setdefault("correlation_id", context.correlation_id)
        line.setdefault("trace_id", context.trace_id)
    return line
