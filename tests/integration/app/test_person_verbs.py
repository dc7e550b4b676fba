"""Answering a person from the shell: found, exported, erased; counted first, and refused in one line."""

import json

import pytest

from penstock.app import configuration, house, streams
from penstock.base import context, errors, ids
from penstock.channels.model import event
from penstock.messages.v1 import message_pb2
from penstock.spine import route
from penstock.state import personal_streams
from tests.integration.app.test_verbs import HOSTILE, one_line

NOBODY = "nats://127.0.0.1:9"
"""Where no nats-server answers."""


@pytest.fixture(scope="module")
def talked(installed):
    """Ana says something to acme, and somebody of the same id to its twin; the accounts' ids."""
    import asyncio
    import datetime

    found = {}
    for tenant in ("acme", "twin"):
        assert installed.call("tenant", "create", tenant).code in {0, 5}
        made = installed.call("account", "create", "people", "-t", tenant, "-c", "terminal", "--json")
        assert made.code == 0, made.err
        found[tenant] = made.document["id"]

    async def talk():
        chosen = configuration.load({name: installed.environ[name] for name in ("PENSTOCK_DATA", "XDG_CONFIG_HOME")})
        async with house.of_running_installation(chosen) as joined:
            for tenant, account_id in found.items():
                account = (await joined.channels.accounts.show(tenant, account_id)).account
                said = message_pb2.Message(
                    event_id="evt-1",
                    conversation="room",
                    sender=message_pb2.Sender(id="U-ana", display_name=f"Ana of {tenant}\x1b[2J"),
                    text=f"what ana says to {tenant}",
                )
                complete = event.complete(said, account, datetime.datetime.now(datetime.UTC))
                outgoing = route.INBOUND.encode(context.start(ids.tenant_id(tenant)), complete.message)
                await joined.channels.messages.add(account, [complete], [outgoing])

    asyncio.run(talk())
    return found


def by_place(report):
    return {part["place"]: part for part in report["parts"]}


def test_a_person_is_found_exported_and_erased(installed, talked, server_folder, monkeypatch):
    account = talked["acme"]
    whom = ("-t", "acme", "-a", account, "-s", "U-ana")
    (found,) = installed.call("person", "find", "ana", "-t", "acme", "--json").document
    assert (found["account"], found["sender"]) == (account, "U-ana")
    listed = installed.call("person", "find", "Ana", "-t", "acme")
    assert ("U-ana" in listed.out, "\x1b" in listed.out) == (True, False)
    file = server_folder / "ana.ndjson"
    exported = installed.call("person", "export", *whom, "--to", str(file), "--json")
    assert (exported.code, exported.document["file"], exported.document["complete"]) == (0, str(file), True)
    text = file.read_text()
    assert ("what ana says to acme" in text, "twin" in text) == (True, False)
    assert json.loads(text.splitlines()[-1])["kind"] == "manifest"
    again = installed.call("person", "export", *whom, "--to", str(file))
    assert (again.code, one_line(again)) == (5, True)
    counted = installed.call("person", "erase", *whom, "--json")
    assert by_place(counted.document)["channels.message"]["found"] == 1
    words = installed.call("person", "erase", *whom, "--dry-run")
    assert (words.code, words.out.splitlines()[-1]) == (0, "Nothing was changed. Erase with --yes.")
    assert installed.call("person", "erased", "-t", "acme").out == "nobody was erased yet\n"
    monkeypatch.setattr(streams, "CONNECTS_WITHIN_S", 0.2)
    away = installed.call("person", "erase", *whom, "--yes", "--json", PENSTOCK_NATS_URL=NOBODY)
    assert (away.code, away.document["complete"]) == (75, False)
    failed = {part["place"]: part["code"] for part in away.document["parts"] if part["state"] == "failed"}
    assert failed == dict.fromkeys(personal_streams.PATTERNS, "nats_unreachable")
    assert by_place(away.document)["channels.message"]["erased"] == 1
    unfinished = installed.call("person", "erased", "-t", "acme", "--json").document
    assert [one["finished_at"] for one in unfinished] == [None]
    told = installed.call("person", "erase", *whom, "--yes", PENSTOCK_NATS_URL=NOBODY)
    assert (told.code, told.out.splitlines()[-1]) == (75, "Not all of it: run it again once that is there.")
    monkeypatch.undo()
    erased = installed.call("person", "erase", *whom, "--yes", "--json")
    assert (erased.code, erased.document["complete"]) == (0, True)
    assert by_place(erased.document)["MESSAGES_INBOUND"] | {"person": ""} == {
        "place": "MESSAGES_INBOUND",
        "state": "done",
        "found": 1,
        "erased": 1,
        "code": "",
        "detail": "",
        "person": "",
    }
    assert installed.call("person", "find", "ana", "-t", "acme").out == "nobody of that name has spoken\n"
    assert installed.call("person", "find", "ana", "-t", "twin", "--json").document[0]["sender"] == "U-ana"
    names = installed.call("person", "erased", "-t", "acme", "--json")
    assert [one["person"] for one in names.document] == [erased.document["person"]]
    kept = server_folder / "erased.json"
    kept.write_text(names.out)
    once_more = installed.call("person", "erase", "-t", "acme", "--listed", str(kept), "--yes", "--json")
    assert (once_more.code, [one["complete"] for one in once_more.document]) == (0, [True])
    assert "U-ana" not in names.out + erased.out + once_more.out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["export", "-s", "U1", "-a", "acc-" + "a" * 26, "--to", "x"], 4),
        (["erase", "-s", "U1", "-a", "acc-" + "a" * 26, "--yes"], 4),
        (["erase"], 2),
        (["erase", "--listed", "/no/such/file", "--yes"], 2),
        (["erase", "-s", "U1", "-a", "x", "--yes", "--dry-run"], 2),
        (["find", "x", "-a", "acc-" + "a" * 26], 4),
        (["find", ""], 2),
    ],
)
def test_what_cannot_be_is_refused(installed, talked, arguments, code):
    refused = installed.call("person", *arguments, "-t", "acme")
    assert (refused.code, "Traceback" in refused.err) == (code, False), refused.err


def test_anothers_account_is_not_there(installed, talked):
    refused = installed.call("person", "erase", "-t", "acme", "-a", talked["twin"], "-s", "U-ana", "--yes")
    assert (refused.code, one_line(refused)) == (4, True)
    assert installed.call("person", "find", "ana", "-t", "twin", "--json").document[0]["sender"] == "U-ana"


@pytest.mark.parametrize("word", HOSTILE[:12], ids=lambda word: ascii(word)[:30])
def test_hostile_words_are_nobody_or_refused_in_one_line(installed, talked, word, server_folder):
    for arguments in (
        ["find", "-t", "acme", "--", word],
        ["find", "-t", word, "--", "x"],
        ["erase", "-t", "acme", "-a", talked["acme"], f"--sender={word}"],
        ["erase", "-t", "acme", f"--account={word}", "-s", "U1"],
        ["erased", "-t", word],
    ):
        ended = installed.call("person", *arguments)
        assert ended.code in {0, 2, 4}, (arguments, ended)
        assert "Traceback" not in ended.err
        assert ended.code == 0 or one_line(ended) or ended.err.startswith("Usage:"), (arguments, ended.err)


def test_a_list_of_erasures_is_read_strictly():
    from penstock.state import erasures

    for document in ({}, [{}], ["x"], [{"tenant": "acme"}], None):
        with pytest.raises((ValueError, errors.Rejected)):
            erasures.listed(document)
