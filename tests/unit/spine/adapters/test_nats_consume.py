"""Deliveries read what the server says in their reply subject, and are settled once."""

from datetime import UTC, datetime
from typing import Any

import pytest
from nats.aio.msg import Msg

from penstock.spine.adapters import nats_consume

SHORT = "$JS.ACK.ORDERS.app_acme_echo.3.17.42.1767225600123456789.5"
LONG = "$JS.ACK.hub.ACCHASH.ORDERS.app_acme_echo.3.17.42.1767225600123456789.5.random"


def delivery(reply: str = SHORT, settle: Any = None, headers: Any = None) -> nats_consume.NatsDelivery:
    return nats_consume.NatsDelivery(Msg(None, "tenant.acme.x", reply, b"body", headers), settle)  # type: ignore[arg-type]


class Server:
    def __init__(self) -> None:
        self.told: list[tuple[str, bytes, bool]] = []

    async def settle(self, reply: str, words: bytes, last: bool) -> None:
        self.told.append((reply, words, last))


@pytest.mark.parametrize("reply", [SHORT, LONG])
def test_both_forms_of_the_reply_subject_are_read(reply: str) -> None:
    read = delivery(reply, Server().settle)
    assert (read.stream, read.consumer, read.deliveries, read.sequence) == ("ORDERS", "app_acme_echo", 3, 17)
    assert (read.pending, read.subject, read.body) == (5, "tenant.acme.x", b"body")
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
    read = delivery(settle=server.settle)
    await read.extend()
    await settle(read)
    for again in (read.ack, read.terminate, read.extend):
        await again()
    assert server.told == [(SHORT, b"+WPI", False), (SHORT, words, True)]


async def test_a_browsed_message_has_nothing_to_settle() -> None:
    read = delivery()
    await read.ack()
    await read.retry(1)
    assert read.consumer == ""
