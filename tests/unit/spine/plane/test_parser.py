"""However the stream is cut, the same messages come out of it; and nothing that is sent makes it grow or hang."""

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.base import errors
from penstock.spine.plane import parser
from penstock.spine.plane.message import Message


class Heard:
    """What a parser dispatched, in order."""

    def __init__(self, *numbers):
        self.lines = []
        self.parser = parser.Parser({b"%d" % n: self.receive for n in numbers or (1, 22)}, self.control)

    def receive(self, message: Message):
        self.lines.append(("message", message.subject, message.reply, message.block, message.body))

    def control(self, line: bytes):
        self.lines.append(("control", line))


def dispatched(*pieces: bytes):
    heard = Heard()
    for piece in pieces:
        heard.parser.feed(piece)
    return heard.lines


token = st.text(st.characters(codec="utf-8", exclude_characters=" \t\r\n"), min_size=1, max_size=12)
payload = st.binary(max_size=60) | st.just(b"\r\nMSG a 1 3\r\n") | st.just(b"\r\n")


@st.composite
def plain(draw):
    subject, reply, body = draw(token), draw(token | st.just("")), draw(payload)
    words = [subject, "1", *([reply] if reply else []), str(len(body))]
    return f"MSG {' '.join(words)}\r\n".encode() + body + b"\r\n", ("message", subject, reply, b"", body)


@st.composite
def headed(draw):
    subject, reply, body = draw(token), draw(token | st.just("")), draw(payload)
    block = b"NATS/1.0\r\nA: " + draw(payload) + b"\r\n\r\n"
    words = [subject, "22", *([reply] if reply else []), str(len(block)), str(len(block) + len(body))]
    return f"HMSG {' '.join(words)}\r\n".encode() + block + body + b"\r\n", ("message", subject, reply, block, body)


control = st.sampled_from([b"PING", b"PONG", b"+OK", b'INFO {"a":1}', b"-ERR 'Stale Connection'", b""]).map(
    lambda line: (line + b"\r\n", ("control", line))
)
streams = st.lists(st.one_of(plain(), headed(), control), max_size=12)


@given(streams, st.data())
def test_any_cut_of_any_stream_gives_the_same_dispatch(messages, data):
    stream = b"".join(wire for wire, _ in messages)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=20)))
    pieces = [stream[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert dispatched(*pieces) == [meant for _, meant in messages]


@given(streams)
def test_a_stream_that_comes_byte_by_byte_gives_the_same_dispatch(messages):
    stream = b"".join(wire for wire, _ in messages)
    assert dispatched(*[stream[n : n + 1] for n in range(len(stream))]) == [meant for _, meant in messages]


@given(
    st.lists(st.binary(max_size=64) | st.sampled_from([b"MSG a 1 5\r\n", b"HMSG a 1 3 5\r\n", b"\r\n"]), max_size=20)
)
@example([b"MSG a 1 1", b"00\r\n"])
def test_no_input_is_lost_invented_or_kept_for_ever(pieces):
    heard = Heard()
    with contextlib.suppress(errors.Unavailable):
        for piece in pieces:
            heard.parser.feed(piece)
            assert heard.parser.kept_bytes <= sum(map(len, pieces))
    assert sum(len(line[-1]) for line in heard.lines) <= sum(map(len, pieces))


@pytest.mark.parametrize(
    "line",
    [
        b"MSG\ta.b\t1\tr\t2",
        b"MSG  a.b   1 r  2",
        b"MSG a.b 1 r 2 ",
        b"MSG a.b 1\tr 2\t",
        b"MSG \t a.b 1 r 2",
        b"msg a.b 1 r 2",
    ],
)
def test_blanks_and_tabs_are_as_good_as_one_blank(line):
    assert dispatched(line + b"\r\nhi\r\n") == [("message", "a.b", "r", b"", b"hi")]


def test_other_white_space_belongs_to_the_subject():
    assert dispatched(b"MSG a\x0bb\x0c\xc2\xa0 1 2\r\nhi\r\n") == [("message", "a\x0bb\x0c\xa0", "", b"", b"hi")]


def test_a_subject_that_is_no_utf_8_is_still_received():
    assert dispatched(b"MSG a\xff 1 r\xfe 2\r\nhi\r\n") == [("message", "a\\xff", "r\\xfe", b"", b"hi")]


@pytest.mark.parametrize(
    "stream",
    [
        b"MSG\r\n",
        b"MSG a 1\r\n",
        b"MSG a 1 r s 5\r\n",
        b"MSG a 1 x\r\n",
        b"MSG a 1 -1\r\n",
        b"MSG a 1 +1\r\n",
        b"MSG a 1 1_0\r\n",
        b"MSG a 1 99999999999999999999\r\n",
        b"MSG a 1 \xd9\xa3\r\n",
        b"MSG a 1 99999999\r\n",
        b"HMSG a 1 5\r\n",
        b"HMSG a 1 9 5\r\n",
        b"HMSG a 1 r s 2 5\r\n",
        b"MUSH a 1 5\r\n",
        b"HUSH a 1 5 5\r\n",
        b"MSG a 1 2\r\nhi!\r\n",
        b"MSG a 1 2\r\nhi\n\r",
        b"x" * (parser.LINE_LIMIT_BYTES + 1),
    ],
)
def test_what_is_not_the_protocol_is_an_error(stream):
    with pytest.raises(errors.Unavailable) as violation:
        dispatched(stream)
    assert violation.value.code == "protocol_error"


def test_a_line_that_never_ends_is_an_error_in_time():
    heard = Heard()
    for _ in range(parser.LINE_LIMIT_BYTES // 4 - 1):
        heard.parser.feed(b"MSG ")
    with pytest.raises(errors.Unavailable):
        heard.parser.feed(b"MSG ")
    assert heard.parser.kept_bytes <= parser.LINE_LIMIT_BYTES + 3


def test_the_limit_on_sizes_follows_what_the_server_says():
    announced = b"MSG a 1 %d\r\n" % (20 << 20)
    with pytest.raises(errors.Unavailable):
        dispatched(announced)
    heard = Heard()
    heard.parser.limit_size(20 << 20)
    heard.parser.feed(announced)
    assert heard.parser.kept_bytes == len(announced)
    boasting = Heard()
    boasting.parser.limit_size(1 << 60)
    with pytest.raises(errors.Unavailable):
        boasting.parser.feed(b"MSG a 1 999999999\r\n")


def test_a_large_message_is_put_together_from_many_pieces():
    body = bytes(range(256)) * 4096
    stream = b"MSG a 1 %d\r\n%s\r\nPING\r\n" % (len(body), body)
    assert dispatched(*[stream[n : n + 1000] for n in range(0, len(stream), 1000)]) == [
        ("message", "a", "", b"", body),
        ("control", b"PING"),
    ]


def test_messages_of_nobody_are_passed_over():
    assert dispatched(b"MSG a 9 2\r\nhi\r\nMSG b 1 2\r\nho\r\n") == [("message", "b", "", b"", b"ho")]


def test_a_receiver_that_fails_does_not_keep_the_next_message():
    received = []

    def receive(message):
        received.append(message.body)
        raise ValueError("the receiver's own")

    fed = parser.Parser({b"1": receive}, received.append)
    fed.feed(b"MSG a 1 1\r\na\r\nMSG a 1 1\r\nb\r\n")
    assert received == [b"a", b"b"]


def test_nothing_is_dispatched_after_a_receiver_has_stopped_it():
    received = []

    def receive(message):
        received.append(message.body)
        fed.stop()

    fed = parser.Parser({b"1": receive}, received.append)
    fed.feed(b"MSG a 1 1\r\na\r\nMSG a 1 1\r\nb\r\nPING\r\nPI")
    assert received == [b"a"]
    assert fed.kept_bytes == 0


def test_a_receiver_may_end_the_interest_of_another():
    receivers = {}
    received = []

    def first(message):
        received.append(message.body)
        del receivers[b"2"]

    receivers |= {b"1": first, b"2": lambda message: received.append(message.body)}
    parser.Parser(receivers, received.append).feed(b"MSG a 1 1\r\na\r\nMSG a 2 1\r\nb\r\n")
    assert received == [b"a"]
