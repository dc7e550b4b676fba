"""Logs, spans and metrics: the same three everywhere, and the only home of the libraries behind them.

A log line is one JSON object and carries the tenant, correlation and trace that are bound, whoever wrote it: what
libraries and apps say through Python's `logging` becomes such a line too. A span moves a `Context` one hop down its
trace and is recorded by whatever tracer the process chose (`otlp` sends them out). A metric says what it means and what
to do about it, in one list.
"""

import contextlib
import contextvars
import dataclasses
import logging
import sys
from collections.abc import Generator, Mapping, MutableMapping, Sequence
from typing import Any, Final, Literal, Protocol, TextIO, cast

import prometheus_client
import structlog
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from penstock.base import context as contexts
from penstock.base import errors

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
    """Write one JSON object a line to `stream` (standard error by default), from `level` up.

    Python's `logging` ends there too, from `level` up for everybody but the libraries that talk about each of their
    requests (`TALKATIVE`), which are heard from `warning` up: what they quote may hold a token.
    """
    least = getattr(logging, level.upper())
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
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Lossy(stream or sys.stderr))),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for known in [handler for handler in root.handlers if isinstance(handler, _Bridge)]:
        root.removeHandler(known)
    root.addHandler(_Bridge(least))
    root.setLevel(least)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(max(least, logging.WARNING))


TALKATIVE: Final = ("asyncio", "httpcore", "httpx", "nats", "psycopg", "uvicorn")
"""Libraries whose everyday lines are not ours to write."""


class _Bridge(logging.Handler):
    """Takes what is said through `logging` to the same lines; `source` is the name of its logger."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, or nothing: whoever logs goes on either way."""
        try:
            level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
            structlog.get_logger(source=record.name).log(level, record.getMessage(), exc_info=record.exc_info or False)
        except Exception:  # noqa: BLE001 - the interface of `logging` says that this is where it ends
            self.handleError(record)


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


def brought_along(name: str, kind: str, *, meaning: str, remedy: str) -> None:
    """Put a metric that the library collects by itself on the list."""
    METRICS.append(Metric(name, kind, (), meaning, remedy))


def exposition() -> bytes:
    """All metrics in Prometheus' text format."""
    return prometheus_client.generate_latest()


Kind = Literal["internal", "server", "client", "producer", "consumer"]
"""Which side of an exchange a span is, as OpenTelemetry names them."""


class Tracer(Protocol):
    """Records spans."""

    def span(
        self, name: str, parent: contexts.Context, kind: Kind, attributes: Mapping[str, str | int]
    ) -> contextlib.AbstractContextManager[contexts.Context]:
        """One span below `parent`, from entry to exit; gives the context to hand on. An exception marks it."""
        ...


PREFIX: Final = "penstock."
"""What the names of our attributes begin with."""

_tracer: Tracer | None = None


def trace_through(tracer: Tracer | None) -> None:
    """Record spans with `tracer` from now on; None stops recording (contexts still move along the trace)."""
    global _tracer  # noqa: PLW0603 - one process has one tracer, chosen once where it starts
    _tracer = tracer


def trace_with(provider: trace.TracerProvider | None) -> None:
    """Record spans through a provider of OpenTelemetry's own from now on; None stops recording."""
    trace_through(_Provided(provider.get_tracer("penstock")) if provider else None)


def trace_as_configured() -> None:
    """Record spans if the process has an OpenTelemetry provider, set by `opentelemetry-instrument` or by its code."""
    provider = trace.get_tracer_provider()
    none = isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider)
    trace_with(None if none else provider)


def tracing() -> bool:
    """Whether spans are recorded: what is done for them alone can be left undone otherwise."""
    return _tracer is not None


def span(
    name: str, parent: contexts.Context, kind: Kind = "internal", **attributes: str | int
) -> contextlib.AbstractContextManager[contexts.Context]:
    """Do something as one span of `parent`'s trace; yields the context to hand on. An exception marks the span.

    Attributes are ids and names, never what somebody wrote, never a secret; `room="state"` is recorded as
    `penstock.room`. Tenant and correlation are there by themselves.
    """
    if _tracer is None:
        return contextlib.nullcontext(parent)
    return _tracer.span(name, parent, kind, attributes)


def failure_of(error: BaseException) -> str:
    """What a span says of an error: its stable code, or its class. A message may quote what somebody wrote."""
    return error.code if isinstance(error, errors.PenstockError) else type(error).__name__


class _Provided:
    """Spans of a provider that somebody else has set up: it decides what is recorded and where it goes."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    @contextlib.contextmanager
    def span(
        self, name: str, parent: contexts.Context, kind: Kind, attributes: Mapping[str, str | int]
    ) -> Generator[contexts.Context]:
        flags = TraceFlags(int(parent.sampled))
        above = SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=flags)
        ours = {"tenant": parent.tenant, "correlation_id": parent.correlation_id, **attributes}
        with self._tracer.start_as_current_span(
            name,
            context=trace.set_span_in_context(NonRecordingSpan(above)),
            kind=SpanKind[kind.upper()],
            attributes={PREFIX + word: value for word, value in ours.items()},
            record_exception=False,
            set_status_on_exception=False,
        ) as current:
            try:
                yield parent.at_span(f"{current.get_span_context().span_id:016x}")
            except Exception as error:
                current.set_attribute("error.type", failure_of(error))
                current.set_status(Status(StatusCode.ERROR, failure_of(error)))
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


def bind(context: contexts.Context) -> None:
    """Put the context's ids on every log line that the present task writes from here to its end."""
    _current.set(context)


def current() -> contexts.Context | None:
    """What is bound here: whom the present work is for, and where in its trace it is."""
    return _current.get()


def _add_ids(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The step of a log line that adds what is bound; what a line says itself stays."""
    context = _current.get()
    if context is not None:
        line.setdefault("tenant", context.tenant)
        line.setdefault("correlation_id", context.correlation_id)
        line.setdefault("trace_id", context.trace_id)
    return line
