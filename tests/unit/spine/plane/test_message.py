"""Headers and statuses, read as NATS writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.spine.plane import headers
from penstock.spine.plane.message import Message

names = st.from_regex(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,10}", fullmatch=True)
values = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x00"), max_size=20).map(str.strip)


def message(block=b"", body=b""):
    return Message("a", "", block, body)


@given(st.dictionaries(names, values, max_size=6), st.binary(max_size=10))
def test_what_is_written_is_read(given_headers, body):
    assert message(headers.block(given_headers), body).headers == given_headers


def test_without_headers_nothing_is_written():
    assert headers.block({}) == b""
    assert message().headers == {}
    assert message().status == ""
    assert message().description == ""


@pytest.mark.parametrize(
    ("first", "status", "description"),
    [
        (b"NATS/1.0 503", "503", ""),
        (b"NATS/1.0 100 Idle Heartbeat", "100", "Idle Heartbeat"),
        (b"NATS/1.0 409  Message Size Exceeds MaxBytes ", "409", "Message Size Exceeds MaxBytes"),
        (b"NATS/1.0", "", ""),
        (b"NATS/1.0 5", "", ""),
        (b"NATS/1.0 \xd9\xa3\xd9\xa3", "", ""),
    ],
)
def test_a_status_stands_in_the_first_line(first, status, description):
    found = message(first + b"\r\nNats-Last-Consumer: 5\r\n\r\n")
    assert (found.status, found.description) == (status, description)
    assert found.headers == {"Nats-Last-Consumer": "5"}


def test_a_message_with_a_body_is_no_status():
    found = message(b"NATS/1.0 503\r\n\r\n", b"words")
    assert (found.status, found.description) == ("", "")


def test_what_is_no_header_is_left_out_and_the_last_of_a_name_counts():
    block = b"NATS/1.0\r\nnonsense\r\n: x\r\nA:1\r\nA:  2 \r\nB: c: d\r\nC: \xff\r\n\r\n"
    assert message(block).headers == {"A": "2", "B": "c: d", "C": "\ufffd"}


def test_a_message_does_not_show_what_it_carries():
    assert repr(Message("a.b", "r", b"", b"hush")) == "Message(subject='a.b', reply='r', 4 bytes)"
