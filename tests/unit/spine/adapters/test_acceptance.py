"""What is refused before it is sent: nothing that would arrive as something else, and nothing that may be sent."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors
from penstock.spine import ports
from penstock.spine.adapters import acceptance

LIMIT = 1 << 20

tokens = st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True)
header_names = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,12}", fullmatch=True)
header_values = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), max_size=40)


def outgoing(subject: str = "a.b", headers: dict[str, str] | None = None, body: bytes = b"") -> ports.Outgoing:
    return ports.Outgoing("S", subject, "k", headers or {}, body)


def code(check: Callable[[], object]) -> str:
    try:
        check()
    except errors.Rejected as refused:
        return refused.code
    return ""


@given(st.lists(tokens, min_size=1, max_size=6), st.dictionaries(header_names, header_values, max_size=6))
def test_law_the_grammar_and_clean_headers_are_accepted(parts: list[str], headers: dict[str, str]) -> None:
    assert code(lambda: acceptance.message(outgoing(".".join(parts), headers), LIMIT)) == ""
    assert code(lambda: acceptance.signal(ports.Signal(".".join(parts), headers, b""), LIMIT)) == ""
    assert code(lambda: acceptance.pattern(".".join(parts))) == ""


@given(st.text(st.characters(codec=None), max_size=20))
def test_law_what_is_accepted_cannot_break_out_of_its_line(text: str) -> None:
    dirty = any(character in text for character in "\r\n\0 \t")
    if dirty:
        assert code(lambda: acceptance.message(outgoing(text), LIMIT)) == "bad_subject"
        assert code(lambda: acceptance.signal(ports.Signal(text, {}, b""), LIMIT)) == "bad_subject"
        assert code(lambda: acceptance.pattern(text)) == "bad_subject"
        assert code(lambda: acceptance.key(text)) == "bad_key"
        assert code(lambda: acceptance.bucket(text)) == "bad_bucket"
    if any(character in text for character in "\r\n\0"):
        assert code(lambda: acceptance.message(outgoing(headers={"a": text}), LIMIT)) == "bad_header"


@pytest.mark.parametrize("subject", ["$JS.API.STREAM.DELETE.X", "a.*", "a.>", "é", "a..b", "", "a.b."])
def test_stored_messages_keep_the_grammar(subject: str) -> None:
    assert code(lambda: acceptance.message(outgoing(subject), LIMIT)) == "bad_subject"


@pytest.mark.parametrize(("subject", "refused"), [("$JS.ACK.S.c.1", ""), ("_INBOX.é!", ""), ("a.*", "bad_subject")])
def test_signals_may_go_to_any_concrete_subject(subject: str, refused: str) -> None:
    assert code(lambda: acceptance.signal(ports.Signal(subject, {}, b""), LIMIT)) == refused


@pytest.mark.parametrize("pattern", [">", "*", "a.*", "a.>", "*.a.>", "$KV.b.>"])
def test_patterns_may_hold_wildcards(pattern: str) -> None:
    assert code(lambda: acceptance.pattern(pattern)) == ""


@pytest.mark.parametrize("pattern", ["a.>.b", "a*", "a.b>", ">.a", "", ".", "a.", "*a"])
def test_wildcards_stand_alone_and_the_last_one_last(pattern: str) -> None:
    assert code(lambda: acceptance.pattern(pattern)) == "bad_subject"


@given(st.dictionaries(header_names, header_values, max_size=5), st.integers(0, 400), st.integers(0, 400))
def test_law_exactly_what_fits_is_accepted(headers: dict[str, str], body_bytes: int, limit_bytes: int) -> None:
    block = b"NATS/1.0\r\n" + b"".join(f"{k}: {v}\r\n".encode() for k, v in headers.items()) + b"\r\n"
    block = block if headers else b""
    fits = len(block) + body_bytes <= limit_bytes
    refused = code(lambda: acceptance.message(outgoing(headers=headers, body=b"x" * body_bytes), limit_bytes))
    assert refused == ("" if fits else "too_large")
    if fits:
        assert acceptance.message(outgoing(headers=headers), limit_bytes) == block


def test_names_that_were_good_once_do_not_make_others_good() -> None:
    assert code(lambda: acceptance.message(outgoing(headers={"good": "1"}), LIMIT)) == ""
    for headers in ({"good": "1", "not good": "2"}, {"": "1"}, {"good": "1", "a:b": ""}, {"é": ""}):
        assert code(lambda headers=headers: acceptance.message(outgoing(headers=headers), LIMIT)) == "bad_header"


def test_a_value_leaves_room_for_its_headers() -> None:
    room = LIMIT - acceptance.ENTRY_HEADERS_BYTES
    assert code(lambda: acceptance.entry("a", b"x" * room, LIMIT)) == ""
    assert code(lambda: acceptance.entry("a", b"x" * (room + 1), LIMIT)) == "too_large"
