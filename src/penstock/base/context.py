"""Who something belongs to and which trace it is part of; made at the border and bound from there on.

The header names of every hop stand here and nowhere else. Trace context follows W3C Trace Context, Level 1
(https://www.w3.org/TR/trace-context/): what breaks its rules is replaced, never passed on.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from penstock.base import errors, ids

TENANT: Final = "tenant-id"
CORRELATION: Final = "x-correlation-id"
CORRELATION_PLAIN: Final = "correlation-id"
TRACEPARENT: Final = "traceparent"
TRACE: Final = "trace-id"
MESSAGE_ID: Final = "Nats-Msg-Id"
MESSAGE_TYPE: Final = "penstock-type"
ONLY: Final = "penstock-only"
HTTP_TENANT: Final = "x-tenant-id"
HTTP_REQUEST: Final = "x-request-id"

_WRITTEN: Final = frozenset(
    {TENANT, CORRELATION, CORRELATION_PLAIN, TRACEPARENT, TRACE, MESSAGE_ID, MESSAGE_TYPE, ONLY}
)
"""The names that we give to a message's headers ourselves."""

_CORRELATION = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_TRACE = re.compile(r"[0-9a-f]{32}")
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_TRACE = "0" * 32
_NO_SPAN = "0" * 16


class Context(NamedTuple):
    """A tenant, a correlation id and a place in a trace.

    `trace_id` is 32 and `span_id` 16 lower-case hex digits, neither all zero; `sampled` is the trace flag. (One is made
    for each message, and a named tuple is made in a third of the time that a frozen dataclass takes.)
    """

    tenant: ids.TenantId
    correlation_id: str
    trace_id: str
    span_id: str
    sampled: bool = True
    request_id: str = ""

    @property
    def traceparent(self) -> str:
        """The W3C `traceparent` header, version 00."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"

    def at_span(self, span_id: str) -> "Context":
        """The same context one hop further down the trace."""
        return self._replace(span_id=span_id)


def new_trace_id() -> str:
    """32 random hex digits, not all zero."""
    return _random_hex(16)


def new_span_id() -> str:
    """16 random hex digits, not all zero."""
    return _random_hex(8)


def _random_hex(size_bytes: int) -> str:
    while not any(raw := ids.random_bytes(size_bytes)):
        continue
    return raw.hex()


def start(tenant: ids.TenantId, *, correlation_id: str = "", request_id: str = "") -> Context:
    """A context at the beginning of a new trace."""
    return Context(
        tenant, normal_correlation(correlation_id), new_trace_id(), new_span_id(), request_id=normal_request(request_id)
    )


def normal_correlation(value: str | None) -> str:
    """`value` if it is 1-128 printable, harmless characters; else a new id."""
    return value if value and _CORRELATION.fullmatch(value) else ids.new_id()


def normal_request(value: str | None) -> str:
    """`value` if it may be echoed, else empty."""
    return value if value and _CORRELATION.fullmatch(value) else ""


def parse_traceparent(value: str) -> tuple[str, str, bool] | None:
    """Trace id, span id and sampled flag of a `traceparent`; None when W3C says to ignore it.

    Version ff, all-zero ids, wrong lengths and upper case are invalid; versions above 00 may carry more fields.
    """
    match = _TRACEPARENT.fullmatch(value)
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == "ff" or trace_id == _NO_TRACE or span_id == _NO_SPAN or (version == "00" and rest):
        return None
    return trace_id, span_id, bool(int(flags, 16) & 1)


def parse_trace(headers: Mapping[str, str]) -> tuple[str, str, bool]:
    """The trace that lower-cased `headers` continue: `traceparent`, else `trace-id` with a new span, else a new one."""
    parent = headers.get(TRACEPARENT)
    parsed = parse_traceparent(parent) if parent else None
    if parsed is not None:
        return parsed
    trace_id = headers.get(TRACE, "").lower()
    if not trace_id:
        fresh = _random_hex(24)
        if fresh[:32] != _NO_TRACE and fresh[32:] != _NO_SPAN:
            return fresh[:32], fresh[32:], True
    if not _TRACE.fullmatch(trace_id) or trace_id == _NO_TRACE:
        trace_id = new_trace_id()
    return trace_id, new_span_id(), True


def from_headers(tenant: ids.TenantId, headers: Mapping[str, str]) -> Context:
    """Bind `tenant` to the correlation and trace of `headers`, whatever their case, mending what is missing or invalid.

    The tenant is never taken from a header here: callers know it from a verified source (an account, a key, a
    subject) and compare with `check_tenant`.
    """
    return from_lowered(tenant, {name.lower(): value for name, value in headers.items()})


def from_lowered(tenant: ids.TenantId, headers: Mapping[str, str]) -> Context:
    """As `from_headers`, of headers whose names are in lower case already."""
    trace_id, span_id, sampled = parse_trace(headers)
    correlation = headers.get(CORRELATION) or headers.get(CORRELATION_PLAIN)
    return Context(
        tenant,
        normal_correlation(correlation),
        trace_id,
        span_id,
        sampled,
        normal_request(headers.get(HTTP_REQUEST)),
    )


def check_tenant(tenant: ids.TenantId, headers: Mapping[str, str]) -> None:
    """Raise Poisoned when a tenant header is there and names somebody else than the subject does."""
    for name, value in headers.items():
        if name.lower() == TENANT and value != tenant:
            raise errors.Poisoned("tenant_mismatch", "the tenant of the header is not the tenant of the subject")


def of_message(tenant: ids.TenantId, headers: Mapping[str, str]) -> Context:
    """`check_tenant` and `from_headers` in one look at the headers of a message. Raises Poisoned as the first does."""
    if headers.keys() <= _WRITTEN and headers.get(TENANT, tenant) == tenant:
        return from_lowered(tenant, headers)  # our own, and no name is there in another case
    lowered = {name.lower(): value for name, value in headers.items()}
    if len(lowered) < len(headers) or lowered.get(TENANT, tenant) != tenant:
        # A name that is there in two cases may name two tenants.
        check_tenant(tenant, headers)
    return from_lowered(tenant, lowered)


def to_headers(context: Context, *, outsiders: bool) -> dict[str, str]:
    """The bus headers of a context; `outsiders` adds the second names that other systems listen for."""
    headers = {TENANT: context.tenant, CORRELATION: context.correlation_id, TRACEPARENT: context.traceparent}
    if outsiders:
        headers[CORRELATION_PLAIN] = context.correlation_id
        headers[TRACE] = context.trace_id
    return headers
