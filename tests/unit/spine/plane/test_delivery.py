"""Deliveries read what the server says in their reply subject, and are settled once."""

from datetime import UTC, datetime
from typing import Any

import pytest

from penstock.spine.plane import delivery
from penstock.spine.plane.message import Message

SHORT = "$JS.ACK.ORDERS.app_acme_echo.3.17.42.1767225600123456789.5"
LONG = "$JS.ACK.hub.ACCHASH.ORDERS.app_acme_echo.3.17.42.1767225600123456789.5.random"


def handed(reply: str = SHORT, holder: Any = None, block: bytes = b"") -> delivery.Delivery:
    return delivery.Delivery(Message("tenant.acme.x", reply, block, b"body"), holder, 4)


class Server:
    def __init__(self) -> None:
        self.told: list[tuple[str, bytes, str]] = []

    def say(self, reply: str, words: bytes) -> None:
        self.told.append((reply, words, "more"))

    def settle(self, reply: str, words: bytes) -> None:
        self.told.append((reply, words, "last"))


@pytest.mark.parametrize("reply", [SHORT, LONG])
def test_both_forms_of_the_reply_subject_are_read(reply: str) -> None:
    read = handed(reply, Server())
    assert (read.stream, read.consumer, read.deliveries, read.sequence) == ("ORDERS", "app_acme_echo", 3, 17)
    assert (read.pending, read.subject, read.body, read.session) == (5, "tenant.acme.x", b"body", 4)
    assert read.at == datetime(2026, 1, 1, 0, 0, 0, 123457, UTC)
    assert dict(read.headers) == {}


@pytest.mark.parametrize(
    ("settle", "words"),
    [
        (lambda d: d.ack(), b"+ACK"),
        (lambda d: d.retry(0), b"-NAK"),
        (lambda d: d.retry(1.5), b'-NAK {"delay":1500000000}'),
        (lambda d: d.terminate(), b"+TERM"),
    ],
)
async def test_it_is_settled_once_in_the_words_of_the_server(settle: Any, words: bytes) -> None:
    server = Server()
    read = handed(holder=server)
    await read.extend()
    await settle(read)
    for again in (read.ack, read.terminate, read.extend):
        await again()
    assert server.told == [(SHORT, b"+WPI", "more"), (SHORT, words, "last")]


async def test_a_browsed_message_has_nothing_to_settle() -> None:
    read = handed()
    await read.ack()
    await read.retry(1)
    assert read.consumer == ""


def test_the_pin_is_not_shown_among_the_headers() -> None:
    block = b"NATS/1.0\r\nNats-Msg-Id: 1\r\nnats-pin-id: theirs\r\nNats-Pin-Id: xyz\r\n\r\n"
    assert handed(block=block).headers == {"Nats-Msg-Id": "1", "nats-pin-id": "theirs"}
