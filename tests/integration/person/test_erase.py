"""Erasing a person: nothing that they said or were told is left anywhere, nothing of anybody else is touched."""

import asyncio
import dataclasses
import datetime
import json

import pytest

from penstock.messages.v1 import message_pb2
from penstock.spine import consumer, provision, worker
from tests.integration.person.stage import until

ANA, BEN = "U-ana-1", "U-ben-2"
WORDS = "a very private matter"


def states(report):
    return {part.place: part.state for part in report.parts}


async def talk(stage, tenant="acme", sender=ANA, words=WORDS, prefix="e"):
    """Somebody says four things, is answered, is told something unasked, and one thing ends in quarantine."""
    mine = [
        stage.message(tenant, f"{prefix}-1", sender, f"{words} 1"),
        stage.message(tenant, f"{prefix}-2", sender, f"{words} 2", room=f"dm-{sender}"),
        stage.message(
            tenant,
            f"{prefix}-3",
            sender,
            f"{words} 3",
            relation=message_pb2.Relation(edit=message_pb2.Edit(message_id=f"m-{prefix}-1")),
        ),
        stage.message(
            tenant,
            f"{prefix}-4",
            sender,
            "",
            relation=message_pb2.Relation(reaction=message_pb2.Reaction(message_id="m-other", name=f"{words} 4")),
        ),
    ]
    assert await stage.hear(*mine) == [True] * 4
    for message in mine[:3]:
        await stage.answer(stage.reply(message, f"you said {message.text}"))
    unasked = stage.reply(mine[1], f"by the way, {words}")
    unasked.cause_event_id = ""
    await stage.answer(unasked)
    await stage.give_up(mine[0])
    return mine


async def test_nothing_is_left_of_a_person_and_everything_of_all_others(stage):
    await talk(stage)
    others = [
        await talk(stage, sender=BEN, words="what ben says", prefix="b"),
        await talk(stage, "globex", ANA, "twin words", "e"),
    ]
    await stage.at_rest(commands=12, quarantined=3)
    before = {words: await stage.everywhere(words) for words in ("what ben says", "twin words")}
    assert {"channels.message", "channels.command", "MESSAGES_INBOUND", "QUARANTINE"} < set(before["twin words"])
    assert len(await stage.everywhere(ANA, besides="globex")) > 5
    people = stage.people()
    person = await people.person("acme", stage.accounts["acme"].id, ANA)
    counted = await people.count(person)
    report = await people.erase(person)
    assert report.complete
    assert {part.place: part.found for part in counted.parts if part.found} == {
        "channels.outbox": 8,
        "MESSAGES_INBOUND": 4,
        "MESSAGES_OUTBOUND": 4,
        "RECEIPTS": 4,
        "QUARANTINE": 1,
        "state.quarantine": 1,
        "channels.command": 4,
        "channels.message": 4,
        "channels.conversation": 3,
    }
    assert await stage.everywhere(WORDS) == []
    assert await stage.everywhere(ANA, besides="globex") == []
    assert {words: await stage.everywhere(words) for words in before} == before
    for messages in others:
        assert await stage.hear(*messages) == [False] * 4
    left = await stage.rows("select sender, body is null, body_hash from channels.message where tenant = 'acme'")
    assert sorted({(sender, gone) for sender, gone, _ in left}) == [(BEN, False), (person.pseudonym, True)]
    (listed,) = await people.listed("acme")
    assert (listed.person, listed.finished_at is not None, await people.listed("globex")) == (
        person.pseudonym,
        True,
        [],
    )


async def test_erasing_again_finds_nothing(stage):
    await talk(stage)
    await stage.at_rest(commands=4, quarantined=1)
    people = stage.people()
    person = await people.person("acme", stage.accounts["acme"].id, ANA)
    await people.erase(person)
    again = await people.erase(person)
    assert again.complete
    assert set(states(again).values()) == {"nothing"}
    assert [part.found for part in (await people.count(person)).parts if part.found] == []


async def test_what_is_delivered_again_does_not_come_back(stage):
    mine = await talk(stage)
    await stage.at_rest(commands=4, quarantined=1)
    people = stage.people()
    await people.erase(await people.person("acme", stage.accounts["acme"].id, ANA))
    assert await stage.hear(*mine) == [False] * 4
    for message in mine[:3]:
        # An app that had the event in its hands answers late; what it says is not kept.
        await stage.answer(stage.reply(message, f"you said {message.text}"))
    late = stage.reply(mine[0], f"late: {WORDS}")
    await stage.answer(late)
    await stage.at_rest(commands=5)
    assert await stage.everywhere(WORDS) == ["MESSAGES_OUTBOUND"]
    person = await people.person("acme", stage.accounts["acme"].id, ANA)
    assert (await people.erase(person)).complete
    assert await stage.everywhere(WORDS) == []


async def test_what_is_said_during_and_after_an_erasure_stays_whole(stage):
    await talk(stage)
    await stage.at_rest(commands=4, quarantined=1)
    people, said = stage.people(), []

    async def speak(place):
        message = stage.message("acme", f"new-{len(said)}", ANA, f"something new {len(said)}", room=f"dm-{ANA}")
        said.append(message)
        await stage.hear(message)

    class Telling:
        """Says something whenever a place is looked at; `tell` is no coroutine, so it is done by the loop."""

        def __init__(self):
            self.tasks = []

        def __call__(self, place, looked):
            self.tasks.append(asyncio.create_task(speak(place)))

    telling = Telling()
    person = await people.person("acme", stage.accounts["acme"].id, ANA)
    report = await people.erase(person, tell=telling)
    for task in telling.tasks:
        await task
    assert report.complete
    assert len(said) > 5
    assert await stage.everywhere(WORDS) == []
    await stage.at_rest()
    kept = await stage.rows("select count(*) from channels.message where sender = %s and body is not null", ANA)
    assert kept == [(len(said),)]
    for number in (0, len(said) - 1):
        assert {"channels.message", "MESSAGES_INBOUND"} <= set(await stage.everywhere(f"something new {number}"))


def committed_late(stage, people, most):
    """Let at most so many webhooks that came before an erasure be stored when a round of it has looked for them.

    One at the end of each round, and one while it waits for what may be on its way; all that were, in the end.
    """
    received, last, late = datetime.datetime.now(datetime.UTC), people._first[-1], []
    settled, let_arrive = last.settled, people._let_arrive

    async def commit():
        if len(late) < most:
            name = f"late-{len(late)}-of-{most}"
            late.append(stage.message("acme", name, ANA, f"{WORDS} {name}", room=f"dm-{ANA}-{name}"))
            assert await stage.hear(late[-1], received_at=received) == [True]

    async def settled_late(trail):
        await settled(trail)
        await commit()

    async def arriving(until):
        await let_arrive(until)
        await commit()

    last.settled, people._let_arrive = settled_late, arriving
    return late


async def test_what_was_received_before_and_is_stored_late_is_erased_too(stage):
    await stage.hear(stage.message("acme", "first", ANA, WORDS))
    await stage.at_rest()
    people = stage.people()
    person = await people.person("acme", stage.accounts["acme"].id, ANA)
    late = committed_late(stage, people, 2)
    assert (await people.erase(person)).complete
    assert len(late) == 2
    assert (await stage.everywhere(WORDS), await stage.everywhere(ANA)) == ([], [])
    busy = stage.people()
    late = committed_late(stage, busy, 100)
    report = await busy.erase(person)
    assert (report.complete, report.parts[-1].state, report.parts[-1].code) == (False, "waits", "still_arriving")
    assert 2 < len(late) < 100
    assert (await people.erase(person)).complete
    assert (await stage.everywhere(WORDS), await stage.everywhere(ANA)) == ([], [])


async def test_a_person_nobody_has_heard_of(stage):
    people = stage.people()
    report = await people.erase(await people.person("acme", stage.accounts["acme"].id, "nobody"))
    assert report.complete
    assert set(states(report).values()) == {"nothing"}


@pytest.mark.parametrize("last", ["the last of the stream", "all of it"])
async def test_a_stream_that_was_erased_from_its_end_is_no_loss(stage, store, last):
    """The publisher looks at its highest place, consumers at theirs: neither takes an empty one for a lost store."""
    if last == "the last of the stream":
        await stage.hear(stage.message("acme", "first", BEN, "before"))
    await talk(stage)
    await stage.at_rest(commands=4, quarantined=1)
    people = stage.people()
    assert (await people.erase(await people.person("acme", stage.accounts["acme"].id, ANA))).complete
    store.kill()
    async with store.held.away():
        pass
    await stage.hear(stage.message("acme", "later", BEN, "after"))
    await stage.answer(stage.reply(stage.message("acme", "later", BEN, "after"), "an answer"))
    await stage.at_rest(commands=5)
    assert await losses(stage) == []
    assert await stage.everywhere(WORDS) == []
    assert "MESSAGES_INBOUND" in await stage.everywhere("after")


async def losses(stage):
    """What publishers or the keeper took for a loss."""
    return await stage.rows(
        "select stream from channels.outbox_loss union select stream from state.outbox_loss "
        "union select stream from state.stream_life where life > 1"
    )


async def test_an_app_that_has_erased_messages_in_its_hands_goes_on(stage, store):
    """It handles what it holds or drops it, and takes what comes; nobody takes that for a lost store."""
    begun, release, handled = [], asyncio.Event(), []

    async def handle(context, delivery):
        said = message_pb2.Message.FromString(delivery.body)
        begun.append(said.event_id)
        if said.sender.id == ANA:
            await release.wait()
        handled.append(said.event_id)

    policy = dataclasses.replace(consumer.of_app("acme", "echo", concurrency=4), ack_wait_s=2.0)
    await provision.durable(stage.spine, policy)
    app = worker.Worker(stage.spine, policy, handle, lane_of=lambda one: one.subject)
    await app.start()
    stage.parts.append(app)
    await stage.hear(*(stage.message("acme", f"a{number}", ANA, WORDS, room=f"r{number}") for number in range(12)))
    await until(lambda: asyncio.sleep(0, len(begun) >= 4))
    people = stage.people()
    assert (await people.erase(await people.person("acme", stage.accounts["acme"].id, ANA))).complete
    store.kill()
    async with store.held.away():
        pass
    release.set()
    await stage.hear(*(stage.message("acme", f"b{number}", BEN, "more", room=f"r{number}") for number in range(12)))
    await until(lambda: asyncio.sleep(0, {f"b{number}" for number in range(12)} <= set(handled)))
    assert len([one for one in handled if one.startswith("b")]) == 12
    assert await losses(stage) == []

    async def settled():
        states = await stage.spine.consumer_states("MESSAGES_INBOUND")
        return not any(state.held or state.waiting for state in states)

    await until(settled)


async def test_a_lost_stream_is_filled_again_without_the_erased(stage, store):
    await talk(stage)
    await talk(stage, sender=BEN, words="what ben says", prefix="b")
    await stage.at_rest(commands=8, quarantined=2)
    people = stage.people()
    assert (await people.erase(await people.person("acme", stage.accounts["acme"].id, ANA))).complete
    await store.lose()
    await store.provide(stage.spine)

    async def filled():
        state = await stage.spine.stream_state("MESSAGES_INBOUND")
        return state is not None and state.messages >= 4

    await until(filled)
    await stage.at_rest()
    assert await stage.everywhere(WORDS) == []
    assert "MESSAGES_INBOUND" in await stage.everywhere("what ben says")


async def test_while_nats_is_away_rows_go_and_the_rest_is_told_and_done_later(stage, store):
    await talk(stage)
    await stage.at_rest(commands=4, quarantined=1)
    people = stage.people()
    person = await people.person("acme", stage.accounts["acme"].id, ANA)
    async with store.held.away():
        await stage.hear(stage.message("acme", "waits", ANA, f"{WORDS} that waits"))
        without = stage.people(without_streams=True)
        for place in without._first[:2]:
            place._leaves_within_s = 0.2
        report = await without.erase(person)
        assert not report.complete
        found = states(report)
        assert {found[name] for name in ("MESSAGES_INBOUND", "channels.outbox")} == {"failed"}
        assert (found["channels.message"], found["channels.conversation"]) == ("done", "waits")
        codes = {part.place: part.code for part in report.parts}
        assert (codes["QUARANTINE"], codes["channels.outbox"]) == ("nats_unreachable", "outbox_waits")
        assert await stage.rows("select count(*) from channels.message where body is not null") == [(0,)]
        (listed,) = await people.listed("acme")
        assert listed.finished_at is None
    await stage.at_rest()
    report = await people.erase(person)
    assert report.complete, report
    assert await stage.everywhere(WORDS) == []
    assert (await people.listed("acme"))[0].finished_at is not None


async def test_a_restored_backup_is_erased_again_by_the_list(stage):
    mine = await talk(stage)
    await talk(stage, sender=BEN, words="what ben says", prefix="b")
    await stage.at_rest(commands=8, quarantined=2)
    people = stage.people()
    person = await people.person("acme", stage.accounts["acme"].id, ANA)
    saved = await stage.rows(
        "select event_id, conversation, sender, body, body_hash from channels.message order by event_id"
    )
    await people.erase(person)
    listed = await people.listed("acme")
    for event_id, conversation, sender, body, body_hash in saved:
        await stage.rows(
            "update channels.message set conversation = %s, sender = %s, body = %s, body_hash = %s "
            "where event_id = %s returning 1",
            conversation,
            sender,
            body,
            body_hash,
            event_id,
        )
    assert await stage.everywhere(WORDS) == ["channels.message"]
    (report,) = await people.erase_listed("acme", listed)
    assert (report.complete, report.person) == (True, person.pseudonym)
    assert await stage.everywhere(WORDS) == []
    assert "channels.message" in await stage.everywhere("what ben says")
    assert await people.erase_listed("globex", listed) == []
    (again,) = await people.erase_listed("acme", listed)
    assert (again.complete, set(states(again).values())) == (True, {"nothing"})
    assert len(mine) == 4


async def test_a_report_is_json(stage):
    people = stage.people()
    report = await people.count(await people.person("acme", stage.accounts["acme"].id, ANA))
    assert json.loads(json.dumps(dataclasses.asdict(report), default=str))["complete"] is True
