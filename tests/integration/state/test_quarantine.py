"""Quarantine rows: kept once, listed by page, sent again to the consumer that gave up, and never by a neighbour."""

import dataclasses
import datetime

import pytest

from penstock.base import context as contexts
from penstock.base import errors, ids
from penstock.messages.v1 import quarantine_pb2
from penstock.spine import route
from penstock.state import publisher, quarantine
from tests.integration.state.conftest import until


@dataclasses.dataclass
class Delivered:
    """A delivery as far as the handler looks at it."""

    headers: dict
    body: bytes


def record(sequence=1, tenant="acme", **changes):
    headers = {"Nats-Msg-Id": f"{tenant}:acc:{sequence}", "tenant-id": tenant, "penstock-type": "penstock.v1.Message"}
    values = {
        "tenant": tenant,
        "stream": "MESSAGES_INBOUND",
        "consumer": f"app_{tenant}_echo",
        "subject": f"tenant.{tenant}.messages.in.p01.webhook.acc.conv",
        "sequence": sequence,
        "headers": [quarantine_pb2.Header(name=name, value=value) for name, value in headers.items()],
        "body": b"body \0 %d" % sequence,
        "reason": quarantine_pb2.QUARANTINE_REASON_POISONED,
        "code": "undecodable",
        "detail": "the body is not a penstock.v1.Message",
        "attempts": 1,
    }
    message = quarantine_pb2.Quarantined(**(values | changes))
    message.at.FromDatetime(datetime.datetime(2026, 1, 1, 0, 0, sequence % 60, tzinfo=datetime.UTC))
    return message


async def keep(kept, message, tenant="acme"):
    context = contexts.start(ids.tenant_id(tenant))
    outgoing = route.QUARANTINED.encode(contexts.start(ids.tenant_id(message.tenant)), message)
    await kept.handle(context, Delivered(dict(outgoing.headers), outgoing.body))


@pytest.fixture
def kept(database):
    return quarantine.Quarantine(database)


@pytest.fixture
async def sent(database, counter):
    """What leaves the outbox of `state`."""
    sending = publisher.Publisher(database, counter, "state")
    await sending.start()
    yield counter.taken
    await sending.stop()


async def until_sent(sent, number):
    async def arrived():
        return len(sent) >= number

    await until(arrived)
    assert len(sent) == number


async def test_a_delivery_is_kept_whole_and_once(kept):
    for _ in range(3):
        await keep(kept, record(7))
    (row,) = await kept.list("acme")
    assert await kept.show("acme", row.id) == row
    assert (row.sequence, row.body, row.reason, row.code) == (7, b"body \0 7", "poisoned", "undecodable")
    assert (row.message_id, row.headers["tenant-id"]) == ("acme:acc:7", "acme")
    assert (row.at, row.redriven_at, row.redriven_count) == (
        datetime.datetime(2026, 1, 1, 0, 0, 7, tzinfo=datetime.UTC),
        None,
        0,
    )


async def test_two_consumers_that_gave_up_are_two_rows(kept):
    await keep(kept, record(1))
    await keep(kept, record(1, consumer="app_acme_other"))
    assert len(await kept.list("acme")) == 2
    assert len(await kept.list("acme", quarantine.Filter(consumer="app_acme_other"))) == 1


async def test_rows_are_listed_newest_first_by_page_and_filter(kept):
    for sequence in range(1, 8):
        await keep(kept, record(sequence, code="odd" if sequence % 2 else "even"))
    pages, after = [], ""
    while page := await kept.list("acme", limit=3, after=after):
        pages.append([row.sequence for row in page])
        after = page[-1].id
    assert pages == [[7, 6, 5], [4, 3, 2], [1]]
    assert [row.sequence for row in await kept.list("acme", quarantine.Filter(code="even"))] == [6, 4, 2]
    assert await kept.list("acme", quarantine.Filter(stream="RECEIPTS")) == []


async def test_a_redriven_message_goes_to_the_one_consumer_under_a_new_id(kept, sent):
    await keep(kept, record(1))
    (row,) = await kept.list("acme")
    ids_sent = [await kept.redrive("acme", row.id) for _ in range(2)]
    assert ids_sent == [f"acme:redrive-{row.id}-1", f"acme:redrive-{row.id}-2"]
    await until_sent(sent, 2)
    first = sent[0]
    assert (first.stream, first.subject, first.body) == (row.stream, row.subject, row.body)
    assert first.headers == {
        "Nats-Msg-Id": ids_sent[0],
        "tenant-id": "acme",
        "penstock-type": "penstock.v1.Message",
        "penstock-only": "app_acme_echo",
    }
    after = await kept.show("acme", row.id)
    assert after.redriven_count == 2
    assert after.redriven_at is not None
    assert await kept.list("acme", quarantine.Filter(redriven=False)) == []


async def test_an_edited_message_carries_the_edit_and_not_what_steers_the_server(kept, sent):
    await keep(kept, record(1))
    (row,) = await kept.list("acme")
    headers = {
        "x": "new",
        "Penstock-Only": "other",
        "Tenant-Id": "globex",
        "nats-expected-stream": "A",
        "Nats-Rollup": "all",
    }
    await kept.redrive("acme", row.id, quarantine.Edit(headers=headers, body=b"mended"))
    await until_sent(sent, 1)
    assert sent[0].body == b"mended"
    assert sent[0].headers == {
        "x": "new",
        "tenant-id": "acme",
        "penstock-only": "app_acme_echo",
        "Nats-Msg-Id": f"acme:redrive-{row.id}-1",
    }
    assert (await kept.show("acme", row.id)).body == row.body, "the row keeps what was quarantined"


async def test_many_are_redriven_oldest_first_and_bodiless_ones_stay(kept, sent):
    for sequence in range(1, 7):
        await keep(kept, record(sequence, body=b"" if sequence == 3 else b"x"))
    assert await kept.redrive_many("acme", quarantine.Filter(redriven=False), limit=2) == 2
    assert await kept.redrive_many("acme", quarantine.Filter(redriven=False)) == 3
    assert await kept.redrive_many("acme", quarantine.Filter(redriven=False)) == 0
    await until_sent(sent, 5)
    left = await kept.list("acme", quarantine.Filter(redriven=False))
    assert [row.sequence for row in left] == [3]
    with pytest.raises(errors.Rejected) as raised:
        await kept.redrive("acme", left[0].id)
    assert raised.value.code == "body_missing"
    await kept.redrive("acme", left[0].id, quarantine.Edit(body=b"found again"))
    await until_sent(sent, 6)


async def test_a_neighbour_sees_and_redrives_nothing(kept, sent):
    await keep(kept, record(1))
    (row,) = await kept.list("acme")
    assert await kept.list("globex") == []
    for work in (
        kept.show("globex", row.id),
        kept.redrive("globex", row.id),
        kept.show("acme", ""),
        kept.redrive("acme", ""),
    ):
        with pytest.raises(errors.Rejected) as raised:
            await work
        assert (raised.value.code, raised.value.status) == ("no_quarantined", 404)
    assert await kept.redrive_many("globex", quarantine.Filter()) == 0
    assert sent == []


async def test_a_record_of_another_tenant_or_of_nothing_is_poisoned(kept):
    with pytest.raises(errors.Poisoned):
        await keep(kept, record(1, tenant="globex"), tenant="acme")
    with pytest.raises(errors.Poisoned):
        await kept.handle(contexts.start(ids.tenant_id("acme")), Delivered({}, b"\xff\xff"))
    assert await kept.list("acme") == await kept.list("globex") == []


async def test_odd_text_is_kept_as_well_as_it_can_be(kept):
    await keep(kept, record(1, detail="nul \0 here", code="", headers=[quarantine_pb2.Header(name="X", value="ü☃")]))
    (row,) = await kept.list("acme")
    assert (row.detail, row.message_id, row.headers) == ("nul � here", "", {"X": "ü☃"})
