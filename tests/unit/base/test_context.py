"""Contexts: W3C trace context to the letter, and nothing invalid is ever passed on."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import context as contexts
from penstock.base import errors, ids

ACME = ids.tenant_id("acme")
TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE_ID}-{SPAN_ID}-01"

trace_ids = st.integers(1, (1 << 128) - 1).map(lambda number: f"{number:032x}")
span_ids = st.integers(1, (1 << 64) - 1).map(lambda number: f"{number:016x}")
flags = st.integers(0, 255).map(lambda number: f"{number:02x}")
later_versions = st.integers(1, 254).map(lambda number: f"{number:02x}")
fields = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)


def test_a_traceparent_is_read() -> None:
    assert contexts.parse_traceparent(GOOD) == (TRACE_ID, SPAN_ID, True)
    assert contexts.parse_traceparent(GOOD[:-2] + "00") == (TRACE_ID, SPAN_ID, False)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "00",
        f"ff-{TRACE_ID}-{SPAN_ID}-01",
        f"00-{'0' * 32}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00-{TRACE_ID.upper()}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{SPAN_ID.upper()}-01",
        f"00-{TRACE_ID}-{SPAN_ID}-0A",
        f"00-{TRACE_ID[:-1]}-{SPAN_ID}-01",
        f"00-{TRACE_ID}a-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{SPAN_ID}a-01",
        f"00-{TRACE_ID}-{SPAN_ID}-1",
        f"0-{TRACE_ID}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{SPAN_ID}",
        GOOD + "-more",
        GOOD + "-",
        f" {GOOD}",
        f"{GOOD}\n",
        f"01-{TRACE_ID}-{SPAN_ID}-01.more",
        f"0g-{TRACE_ID}-{SPAN_ID}-01",
        f"00-{TRACE_ID[:-1]}\u0661-{SPAN_ID}-01",
    ],
)
def test_what_breaks_the_rules_of_w3c_is_ignored(value: str) -> None:
    assert contexts.parse_traceparent(value) is None


@given(later_versions, trace_ids, span_ids, flags, st.none() | fields)
def test_law_later_versions_may_carry_more_fields(
    version: str, trace_id: str, span_id: str, flag: str, more: str | None
) -> None:
    value = f"{version}-{trace_id}-{span_id}-{flag}" + ("" if more is None else f"-{more}")
    assert contexts.parse_traceparent(value) == (trace_id, span_id, bool(int(flag, 16) & 1))


@given(trace_ids, span_ids, st.booleans())
def test_law_what_is_written_is_read_again(trace_id: str, span_id: str, sampled: bool) -> None:
    context = contexts.Context(ACME, "c", trace_id, span_id, sampled)
    assert contexts.parse_traceparent(context.traceparent) == (trace_id, span_id, sampled)


@given(st.text(max_size=80))
def test_law_any_text_is_either_ignored_or_valid(value: str) -> None:
    parsed = contexts.parse_traceparent(value)
    assert parsed is None or contexts.Context(ACME, "c", *parsed).traceparent[3:52] == value[3:52]


@given(trace_ids)
def test_law_the_trace_id_is_derived_from_the_traceparent_and_back(trace_id: str) -> None:
    there = contexts.from_headers(ACME, {"trace-id": trace_id})
    assert there.trace_id == trace_id
    assert re.fullmatch(r"[0-9a-f]{16}", there.span_id)
    back = contexts.from_headers(ACME, contexts.to_headers(there, outsiders=True))
    assert (back.trace_id, back.span_id) == (trace_id, there.span_id)
    assert contexts.to_headers(back, outsiders=True)["trace-id"] == trace_id


def test_the_traceparent_comes_before_the_trace_id() -> None:
    context = contexts.from_headers(ACME, {"traceparent": GOOD, "trace-id": "a" * 32})
    assert (context.trace_id, context.span_id) == (TRACE_ID, SPAN_ID)
    mended = contexts.from_headers(ACME, {"traceparent": "nonsense", "trace-id": "A" * 32})
    assert mended.trace_id == "a" * 32


@pytest.mark.parametrize("trace_id", ["", "0" * 32, "a" * 31, "a" * 33, "g" * 32, "a" * 32 + "\n"])
def test_an_invalid_trace_id_is_replaced(trace_id: str) -> None:
    made = contexts.from_headers(ACME, {"trace-id": trace_id}).trace_id
    assert re.fullmatch(r"[0-9a-f]{32}", made)
    assert made not in {trace_id, "0" * 32}


def test_ids_that_are_all_zero_are_never_made(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = [b"\0" * 16, b"\0" * 15 + b"\1", b"\0" * 8, b"\2" * 8]
    monkeypatch.setattr(contexts.ids, "random_bytes", lambda size: draws.pop(0))
    assert contexts.new_trace_id() == "0" * 31 + "1"
    assert contexts.new_span_id() == "02" * 8


@pytest.mark.parametrize("value", ["c1", "a" * 128, "A.b:c/d+e=f@g-h_i"])
def test_correlation_ids_that_are_harmless_are_kept(value: str) -> None:
    assert contexts.normal_correlation(value) == value
    assert contexts.normal_request(value) == value


@pytest.mark.parametrize("value", [None, "", "a" * 129, "a b", "a\n", "a\r\nX: y", "é", '"', "<script>", "\0"])
def test_other_correlation_ids_are_replaced_and_request_ids_dropped(value: str | None) -> None:
    made = contexts.normal_correlation(value)
    assert re.fullmatch(r"[0-9a-f]{32}", made)
    assert contexts.normal_request(value) == ""


@given(st.dictionaries(st.sampled_from(["Traceparent", "TRACE-ID", "x-correlation-id", "Correlation-Id"]), st.text()))
def test_law_whatever_headers_say_the_context_is_valid(headers: dict[str, str]) -> None:
    context = contexts.from_headers(ACME, headers)
    assert contexts.parse_traceparent(context.traceparent) is not None
    assert contexts.normal_correlation(context.correlation_id) == context.correlation_id
    assert context.tenant == "acme"


def test_headers_are_read_in_any_case_and_under_both_names() -> None:
    first = contexts.from_headers(ACME, {"X-Correlation-ID": "c1", "TraceParent": GOOD, "X-Request-Id": "r1"})
    assert (first.correlation_id, first.trace_id, first.request_id) == ("c1", TRACE_ID, "r1")
    second = contexts.from_headers(ACME, {"correlation-id": "c2"})
    assert second.correlation_id == "c2"
    both = contexts.from_headers(ACME, {"correlation-id": "plain", "x-correlation-id": "first"})
    assert both.correlation_id == "first"


def test_the_tenant_is_never_taken_from_a_header() -> None:
    assert contexts.from_headers(ACME, {"tenant-id": "evil", "x-tenant-id": "evil"}).tenant == "acme"


def test_headers_are_written_with_second_names_for_outsiders_only() -> None:
    context = contexts.Context(ACME, "c1", TRACE_ID, SPAN_ID)
    inside = {"tenant-id": "acme", "x-correlation-id": "c1", "traceparent": GOOD}
    assert contexts.to_headers(context, outsiders=False) == inside
    assert contexts.to_headers(context, outsiders=True) == {**inside, "correlation-id": "c1", "trace-id": TRACE_ID}


@pytest.mark.parametrize("name", ["tenant-id", "Tenant-Id", "TENANT-ID"])
def test_a_header_that_names_another_tenant_is_poison(name: str) -> None:
    contexts.check_tenant(ACME, {name: "acme"})
    contexts.check_tenant(ACME, {})
    for value in ("other", "ACME", "acme ", ""):
        with pytest.raises(errors.Poisoned) as poisoned:
            contexts.check_tenant(ACME, {name: value})
        assert poisoned.value.code == "tenant_mismatch"


NAMES = ["tenant-id", "Tenant-Id", "traceparent", "TraceParent", "x-correlation-id", "Nats-Msg-Id", "else"]


@given(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["acme", "other", GOOD, "c1"])))
def test_a_message_is_bound_as_its_tenant_is_checked_and_its_headers_are_read(headers: dict[str, str]) -> None:
    headers |= {"trace-id": TRACE_ID, "correlation-id": "c2"}
    try:
        contexts.check_tenant(ACME, headers)
    except errors.Poisoned:
        with pytest.raises(errors.Poisoned, match="tenant_mismatch"):
            contexts.of_message(ACME, headers)
    else:
        bound, read = contexts.of_message(ACME, headers), contexts.from_headers(ACME, headers)
        assert bound._replace(span_id="") == read._replace(span_id="")


def test_a_context_starts_a_trace_and_moves_along_it() -> None:
    first, second = contexts.start(ACME), contexts.start(ACME, correlation_id="c1", request_id="bad id")
    assert first.trace_id != second.trace_id
    assert (second.correlation_id, second.request_id) == ("c1", "")
    moved = first.at_span("b" * 16)
    assert moved == first._replace(span_id="b" * 16)
    assert contexts.parse_traceparent(moved.traceparent) == (first.trace_id, "b" * 16, True)
