"""What got in from platforms and what was refused: the table of bodies that no channel takes, and how to count."""

import contextlib
from collections.abc import Iterator
from typing import Any

from penstock.channels.service import inbound
from penstock.messages.v1 import message_pb2

JSON = "application/json"


def unreadable(event: bytes) -> list[tuple[bytes, str, int, str]]:
    """Bodies, what they say they are, and how they are refused; `event`: a sound one without its last brace."""
    return [
        (b"", JSON, 400, "bad_json"),
        (event + b', "x', JSON, 400, "bad_json"),
        (event + b', "x": "\xff\xfe"}', JSON, 400, "bad_text"),
        (event + b', "x": "\\u0000"}', JSON, 400, "bad_text"),
        (event + b', "x": ' + b"[" * 999 + b"]" * 999 + b"}", JSON, 400, "too_deep"),
        (event + b"}", "text/plain", 415, "wrong_content_type"),
        (event + b', "pad": "' + b"x" * 10_000 + b'"}', JSON, 413, "body_too_large"),
    ]


async def inbox(house: Any) -> list[message_pb2.Message]:
    """What got in, in order."""
    return [message_pb2.Message.FromString(bytes(row[2])) for row in await house.outbox("MESSAGES_INBOUND")]


@contextlib.contextmanager
def counted(channel: str, code: str) -> Iterator[None]:
    """One request is refused for that reason here. What is too large is not read, and so of no channel."""
    counter = inbound.refused.labels("unread" if code == "body_too_large" else channel, code)._value
    before = counter.get()
    yield
    assert counter.get() == before + 1, code
