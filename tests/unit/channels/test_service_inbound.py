"""Webhooks: believed first, stored once, refused without a trace."""

import pytest

from penstock.base import clock as clocks
from penstock.base import errors, telemetry
from penstock.channels import ports
from penstock.channels.service import allowance, inbound
from penstock.messages.v1 import message_pb2
from penstock.spine import route
from tests.unit.channels import fakes


class House:
    """An inbound service and everything around it."""

    def __init__(
        self, *accounts: ports.Account, secrets: tuple[str, ...] = ("whsec_1",), most_events: int = 100
    ) -> None:
        self.platform = fakes.Platform()
        self.book = fakes.Book(*(accounts or (fakes.account(),)), secrets=secrets)
        self.tenants = fakes.Tenants(fakes.ACME, fakes.BETA)
        self.table = fakes.MessageTable()
        self.open = True
        where = fakes.where(self.book, self.tenants, self.platform)
        self.clock = clocks.ManualClock()
        allowed = allowance.Allowance(self.table, clock=self.clock, most_events=most_events, most_bytes=1000)
        self.service = inbound.Inbound(where, self.table, lambda: self.open, allowed)

    def holds(self, *messages: message_pb2.Message) -> None:
        self.platform.reading = ports.Reading(messages)

    async def receive(self, letter: str = "a", channel: str = "webhook", **headers: str) -> ports.Answer:
        caller = await self.service.caller(channel, fakes.account_id(letter))
        return await self.service.receive(caller, fakes.request(headers=headers))


@pytest.fixture
def house() -> House:
    found = House()
    found.holds(fakes.message())
    return found


def count(name: str, **labels: str) -> float:
    """A counter's value, read from what Prometheus would see."""
    wanted = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
    for text in telemetry.exposition().decode().splitlines():
        if text.startswith(f"{name}{{{wanted}}} "):
            return float(text.rpartition(" ")[2])
    return 0.0


async def test_a_message_is_stored_and_published_with_its_trace(house: House):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = await house.receive(traceparent=trace, **{"x-correlation-id": "order-7"})
    assert answer == ports.Answer()
    (out,) = house.table.outbox
    said = message_pb2.Message.FromString(out.body)
    assert (said.tenant, said.account, said.text) == ("acme", fakes.account_id(), "hello")
    assert out.headers["traceparent"].split("-")[1] == "0af7651916cd43dd8448eb211c80319c"
    assert out.headers["x-correlation-id"] == "order-7"
    assert out.headers["Nats-Msg-Id"] == route.INBOUND.id_of(said)


async def test_a_repetition_is_answered_alike_published_once_and_counted(house: House):
    before = count("penstock_inbound_duplicates_total", channel="webhook", body="same")
    answers = [await house.receive() for _ in range(3)]
    assert answers == [ports.Answer()] * 3
    assert len(house.table.outbox) == 1
    assert count("penstock_inbound_duplicates_total", channel="webhook", body="same") == before + 2


async def test_another_body_under_the_same_id_is_seen_counted_and_still_answered(house: House):
    before = count("penstock_inbound_duplicates_total", channel="webhook", body="changed")
    await house.receive()
    house.holds(fakes.message(text="something else"))
    assert await house.receive() == ports.Answer()
    assert len(house.table.outbox) == 1
    assert count("penstock_inbound_duplicates_total", channel="webhook", body="changed") == before + 1


async def test_an_edit_a_deletion_and_a_reaction_are_events_of_their_own(house: House):
    relation = message_pb2.Relation
    house.holds(
        fakes.message("m1", message_id="m1"),
        fakes.message("m1.edit.1", relation=relation(edit=message_pb2.Edit(message_id="m1"))),
        fakes.message("m1.react.1", relation=relation(reaction=message_pb2.Reaction(message_id="m1", name="+1"))),
        fakes.message("m1.delete", relation=relation(deletion=message_pb2.Deletion(message_id="m1"))),
    )
    await house.receive()
    kinds = [message_pb2.Message.FromString(o.body).relation.WhichOneof("kind") for o in house.table.outbox]
    assert kinds == [None, "edit", "reaction", "deletion"]


async def test_one_request_with_an_event_twice_publishes_it_once(house: House):
    house.holds(fakes.message(), fakes.message())
    await house.receive()
    assert len(house.table.outbox) == 1


async def test_two_tenants_with_the_same_event_id_both_get_theirs():
    house = House(fakes.account(), fakes.account(fakes.BETA, "b"))
    house.holds(fakes.message())
    await house.receive("a")
    await house.receive("b")
    assert [out.subject.split(".")[1] for out in house.table.outbox] == ["acme", "beta"]
    assert len({out.headers["Nats-Msg-Id"] for out in house.table.outbox}) == 2


async def test_an_adapter_cannot_choose_the_tenant(house: House):
    house.holds(fakes.message(tenant="beta", account="acc-other", channel="slack"))
    await house.receive()
    assert house.table.outbox[0].subject.startswith("tenant.acme.messages.in.")


async def test_a_challenge_is_answered_and_nothing_stored(house: House):
    house.platform.reading = ports.Reading((), ports.Answer(body=b"challenge"), ("typing",))
    assert (await house.receive()).body == b"challenge"
    assert not house.table.rows


async def test_an_earlier_name_of_a_channel_still_works(house: House):
    await house.receive(channel="hook")
    assert house.table.outbox[0].subject.split(".")[5] == "webhook"


async def test_nothing_is_read_before_the_signature_holds(house: House):
    with pytest.raises(errors.Rejected) as caught:
        await house.receive(signature="wrong")
    assert caught.value.status == 401
    assert house.platform.calls == ["verify"]
    assert not house.table.rows


@pytest.mark.parametrize(
    ("letter", "channel", "status"), [("z", "webhook", 404), ("a", "terminal", 404), ("a", "nowhere", 404)]
)
async def test_unknown_channels_and_accounts_are_404_and_counted(house: House, letter: str, channel: str, status: int):
    label = channel if channel != "nowhere" else "unknown"
    before = count("penstock_inbound_refused_total", channel=label, code="no_account")
    with pytest.raises(errors.Rejected) as caught:
        await house.receive(letter, channel)
    assert (caught.value.status, house.platform.calls) == (status, [])
    assert count("penstock_inbound_refused_total", channel=label, code="no_account") == before + 1


async def test_an_account_without_a_secret_is_shut_before_its_adapter_is_asked():
    house = House(secrets=())
    with pytest.raises(errors.Rejected) as caught:
        await house.receive()
    assert (caught.value.status, caught.value.code, house.platform.calls) == (401, "no_secret", [])


async def test_a_disabled_account_is_refused_only_to_who_holds_its_secret():
    house = House(fakes.account(disabled=True))
    with pytest.raises(errors.Rejected) as caught:
        await house.receive()
    assert caught.value.code == "account_disabled"
    with pytest.raises(errors.Rejected) as caught:
        await house.receive(signature="wrong")
    assert caught.value.code == "bad_signature"


@pytest.mark.parametrize("why", ["suspended", "full", "away"])
async def test_what_may_work_later_is_unavailable_and_stores_nothing(house: House, why: str):
    if why == "suspended":
        house.tenants.states[fakes.ACME] = "suspended"
    house.open = why != "full"
    if why == "away":
        house.table.failing = errors.Unavailable("commit_unknown", "lost")
    with pytest.raises(errors.Unavailable) as caught:
        await house.receive()
    assert caught.value.after_s > 0
    assert not house.table.rows


async def test_a_tenant_that_is_gone_looks_like_an_account_that_is_not_there(house: House):
    del house.tenants.states[fakes.ACME]
    with pytest.raises(errors.Rejected) as caught:
        await house.receive()
    assert caught.value.code == "no_account"


@pytest.mark.parametrize("bad", [fakes.message(""), fakes.message("a\0b"), fakes.message("e" * 600)])
async def test_one_unstorable_event_refuses_the_whole_request(house: House, bad: message_pb2.Message):
    house.holds(fakes.message("fine"), bad)
    with pytest.raises(errors.Rejected, match="event_id"):
        await house.receive()
    assert not house.table.rows


def unknown(event_id: str = "u1", kind: str = "call.started", body: bytes = b"{}") -> ports.UnknownEvent:
    return ports.UnknownEvent(event_id, kind, body)


async def test_an_event_of_an_unknown_kind_is_kept_with_the_messages_of_its_request_and_counted_once(house: House):
    before = count("penstock_inbound_unknown_total", channel="webhook")
    house.platform.reading = ports.Reading([fakes.message()], unknown=[unknown(), unknown(), unknown("u2")])
    for _ in range(2):
        assert await house.receive() == ports.Answer()
    assert [key[2] for key in house.table.unknown] == ["u1", "u2"]
    assert len(house.table.outbox) == 1
    assert count("penstock_inbound_unknown_total", channel="webhook") == before + 2


async def test_beyond_its_allowance_an_account_is_answered_alike_and_its_messages_are_stored():
    house = House(fakes.account(), fakes.account(letter="b"), most_events=2)
    name = "penstock_inbound_unknown_not_kept_total"
    before = count(name, channel="webhook")
    for number in range(4):
        strange = unknown(f"u{number}")
        house.platform.reading = ports.Reading([fakes.message(f"e{number}")], unknown=[strange])
        assert await house.receive() == ports.Answer()
    assert [key[2] for key in house.table.unknown] == ["u0", "u1"]
    assert len(house.table.outbox) == 4
    assert count(name, channel="webhook") == before + 2
    house.platform.reading = ports.Reading(unknown=[unknown("u9")])
    house.table.failing = errors.Unavailable("database_away", "away")
    assert await house.receive() == ports.Answer(), "what is not kept needs no table"
    house.table.failing = None
    await house.receive("b")
    assert fakes.account_id("b") in {key[1] for key in house.table.unknown}, "another account has room of its own"


async def test_requests_without_unknown_events_ask_nothing_about_them(house: House):
    for _ in range(3):
        await house.receive()
    assert house.table.looks == 0
    house.platform.reading = ports.Reading(unknown=[unknown()])
    for _ in range(3):
        await house.receive()
    assert house.table.looks == 1


async def test_what_is_of_no_interest_is_counted_and_kept_nowhere(house: House):
    before = count("penstock_inbound_ignored_total", channel="webhook")
    house.platform.reading = ports.Reading(ignored=["typing"])
    await house.receive()
    assert (house.table.unknown, house.table.rows) == ({}, {})
    assert count("penstock_inbound_ignored_total", channel="webhook") == before + 1


async def test_an_unknown_event_that_cannot_be_stored_is_not_answered_with_success(house: House):
    house.platform.reading = ports.Reading(unknown=[unknown()])
    house.table.failing = errors.Unavailable("database_away", "away")
    with pytest.raises(errors.Unavailable):
        await house.receive()
    assert not house.table.unknown
