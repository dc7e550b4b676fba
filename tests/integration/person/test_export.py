"""An export holds all that was put in about one person, from every place, and nothing of anybody else."""

import datetime
import json

import hypothesis
import pytest
from hypothesis import strategies

from penstock.base import errors, ids
from penstock.channels import ports
from tests.integration.person.test_erase import ANA, BEN, WORDS, talk

TEXT = strategies.text(strategies.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=40)
SAID = strategies.lists(
    strategies.tuples(strategies.sampled_from(["acme", "globex"]), strategies.sampled_from("abc"), TEXT, TEXT),
    min_size=1,
    max_size=25,
)


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


async def exported(stage, server_folder, sender=ANA, tenant="acme", people=None):
    people = people or stage.people()
    file = server_folder / f"{ids.new_id()}.ndjson"
    report = await people.export(await people.person(tenant, stage.accounts[tenant].id, sender), file)
    *records, manifest = lines(file)
    assert file.stat().st_mode & 0o777 == 0o600
    return report, records, manifest


async def test_all_places_are_in_it_and_nobody_else_is(stage, server_folder):
    mine = await talk(stage)
    await talk(stage, sender=BEN, words="what ben says", prefix="b")
    await talk(stage, "globex", ANA, "twin words", "e")
    await stage.at_rest(commands=12, quarantined=3)
    report, records, manifest = await exported(stage, server_folder)
    text = json.dumps(records)
    assert ("what ben says" in text, "twin words" in text, BEN in text) == (False, False, False)
    rows = [one for one in records if one["place"] == "channels.message"]
    assert {one["said"]["event_id"]: one["said"].get("text", "") for one in rows} == {
        message.event_id: message.text for message in mine
    }
    said = [one["said"]["text"] for one in records if one["place"] == "channels.command"]
    assert sorted(said) == [f"by the way, {WORDS}", *(f"you said {WORDS} {number}" for number in (1, 2, 3))]
    assert {one["place"]: 1 for one in records} == dict.fromkeys(
        [
            *("channels.outbox", "MESSAGES_INBOUND", "MESSAGES_OUTBOUND", "RECEIPTS", "QUARANTINE"),
            *("state.quarantine", "channels.command", "channels.message"),
        ],
        1,
    )
    kept = next(one for one in records if one["place"] == "state.quarantine")
    assert (kept["said"]["text"], kept["code"]) == (f"{WORDS} 1", "undecodable")
    assert (manifest["kind"], manifest["sender"], manifest["complete"]) == ("manifest", ANA, True)
    assert manifest["records"] == len(records) == sum(part.found for part in report.parts)
    assert {"backups", "apps", "platforms"} < set(manifest["not_searched"])


@hypothesis.settings(max_examples=6, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(said=SAID)
async def test_whatever_was_said_is_in_the_export_of_who_said_it(stage, server_folder, said):
    run = ids.new_id()
    messages = [
        stage.message(tenant, f"{run}-{number}", f"{run}-{who}", text, room=f"{run} {room}")
        for number, (tenant, who, room, text) in enumerate(said)
    ]
    await stage.hear(*messages)
    for tenant in stage.accounts:
        for who in "abc":
            _, records, _ = await exported(stage, server_folder, f"{run}-{who}", tenant)
            found = {
                one["said"]["event_id"]: (one["said"].get("text", ""), one["said"]["conversation"])
                for one in records
                if one["place"] == "channels.message"
            }
            assert found == {
                one.event_id: (one.text, one.conversation)
                for one in messages
                if (one.tenant, one.sender.id) == (tenant, f"{run}-{who}")
            }


async def test_what_was_erased_is_in_no_export(stage, server_folder):
    await talk(stage)
    await stage.at_rest(commands=4, quarantined=1)
    people = stage.people()
    await people.erase(await people.person("acme", stage.accounts["acme"].id, ANA))
    _, records, manifest = await exported(stage, server_folder)
    assert (records, manifest["records"]) == ([], 0)


async def test_an_export_without_streams_says_what_it_lacks(stage, server_folder):
    await talk(stage)
    await stage.at_rest(commands=4, quarantined=1)
    report, records, manifest = await exported(stage, server_folder, people=stage.people(without_streams=True))
    assert (report.complete, manifest["complete"]) == (False, False)
    assert {part["place"] for part in manifest["places"] if part["state"] == "failed"} == {
        *("MESSAGES_INBOUND", "MESSAGES_OUTBOUND", "RECEIPTS", "QUARANTINE")
    }
    assert {one["place"] for one in records} >= {"channels.message", "channels.command"}


async def test_a_file_that_is_there_is_not_written_over(stage, server_folder):
    people, file = stage.people(), server_folder / "mine"
    file.write_text("mine")
    person = await people.person("acme", stage.accounts["acme"].id, ANA)
    with pytest.raises(errors.Rejected, match="file_exists"):
        await people.export(person, file)
    with pytest.raises(errors.Rejected, match="bad_file"):
        await people.export(person, server_folder / "nowhere" / "file")
    assert file.read_text() == "mine"


async def unknown(stage, tenant, event_id, body):
    account = stage.accounts[tenant]
    one = ports.UnknownEvent(event_id, "party", body)
    await stage.keep_unknown(account, one, datetime.datetime.now(datetime.UTC))


async def test_events_that_nobody_can_read_are_named_and_emptied_if_they_hold_the_id(stage, server_folder):
    for tenant in stage.accounts:
        await unknown(stage, tenant, "u-1", b'{"who": "%s", "what": "dances"}' % ANA.encode())
        await unknown(stage, tenant, "u-2", b'{"who": "%s0", "what": "sings"}' % ANA.encode())
    _, (record,), _ = await exported(stage, server_folder)
    assert (record["kind"], record["event_id"], record["of"]) == ("unknown_event", "u-1", "party")
    assert "dances" not in json.dumps(record)
    people = stage.people()
    assert (await people.erase(await people.person("acme", stage.accounts["acme"].id, ANA))).complete
    left = await stage.rows("select tenant, event_id, body = '' from channels.unknown_event order by 1, 2")
    assert left == [("acme", "u-1", True), ("acme", "u-2", False), ("globex", "u-1", False), ("globex", "u-2", False)]


async def test_people_are_found_by_their_id_or_the_name_they_show(stage):
    await talk(stage)
    await talk(stage, sender=BEN, words="Ana said so", prefix="b")
    await talk(stage, "globex", "U-other-9", "twin words", "e")
    people = stage.people()
    assert [one.sender for one in await people.look_for("acme", "ANA-1")] == [ANA]
    assert [one.sender for one in await people.look_for("acme", "name of U-b")] == [BEN]
    assert {one.sender for one in await people.look_for("acme", "name of")} == {ANA, BEN}
    assert await people.look_for("acme", "U-other") == []
    (found,) = await people.look_for("globex", "u-OTHER", account=stage.accounts["globex"].id)
    assert (found.sender, found.display_name, found.account) == (
        "U-other-9",
        "name of U-other-9",
        stage.accounts["globex"].id,
    )
    with pytest.raises(errors.Rejected, match="no_account"):
        await people.look_for("acme", "x", account=stage.accounts["globex"].id)
