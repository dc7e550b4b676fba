"""Wherever a batch is cut short, reading goes on behind it and hands over every chunk once, in order."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors
from penstock.spine.adapters import payload_batch
from penstock.spine.plane.message import Message
from tests.unit.spine.adapters import lossy_link


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload_batch, "PAUSE_S", 0.0)


def reader(link: lossy_link.LossyLink, *, deadline_s: float = 60.0) -> payload_batch.Reader:
    return payload_batch.Reader(link, "jobs_parser", "acme_1", deadline_s=deadline_s)  # type: ignore[arg-type]


async def read_all(one: payload_batch.Reader) -> list[bytes]:
    found = list[bytes]()
    while batch := await one.next():
        found += batch
    await one.aclose()
    return found


@given(st.integers(0, 40), st.lists(st.integers(0, 9), max_size=20))
async def test_law_every_chunk_once_in_order_wherever_batches_are_cut(count: int, cuts: list[int]) -> None:
    link = lossy_link.LossyLink(iter(()), iter(cuts))
    chunks = [bytes((number,)) for number in range(count)]
    for chunk in chunks:
        link.stored += [("$O.jobs_parser.C.other", b"other"), ("$O.jobs_parser.C.acme_1", chunk)]
    assert await read_all(reader(link)) == chunks


async def test_an_answer_to_an_earlier_question_is_not_taken_for_one_to_this() -> None:
    link = lossy_link.LossyLink(iter(()))
    link.stored = [("$O.jobs_parser.C.acme_1", b"chunk")]
    one = reader(link)
    asking = asyncio.create_task(one.next())
    await asyncio.sleep(0)
    link._receive(Message("_INBOX.test.payload.0.0", "", b"NATS/1.0 404 None\r\n\r\n", b""))
    assert await asking == [b"chunk"]
    await one.aclose()


async def test_a_server_that_never_answers_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload_batch, "TRY_S", 0.005)

    class Deaf(lossy_link.LossyLink):
        def publish(self, subject: str, body: bytes, *, reply: str = "") -> None:
            """Nothing comes of it."""

    one = reader(Deaf(iter(())), deadline_s=0.02)
    with pytest.raises(errors.Unavailable) as failed:
        await one.next()
    assert failed.value.code == "bucket_away"
    await one.aclose()
