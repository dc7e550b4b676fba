"""Looking at quarantined messages and sending them again, from the shell; what strangers wrote steers no terminal."""

import asyncio
import base64
import dataclasses

import pytest

from penstock.app import configuration, house
from penstock.base import context, ids
from penstock.messages.v1 import message_pb2, quarantine_pb2
from penstock.spine import route

STEERING = "\x1b[2J\x9b31m\u202e"


@dataclasses.dataclass
class Delivered:
    """A delivery as far as the handler looks at it."""

    headers: dict
    body: bytes


def quarantined(sequence, body, *, tenant="acme", code="undecodable", type="penstock.v1.Message"):
    record = quarantine_pb2.Quarantined(
        tenant=tenant,
        stream="MESSAGES_INBOUND",
        consumer=f"app_{tenant}_echo",
        subject=f"tenant.{tenant}.messages.in.p01.webhook.acc.conv",
        sequence=sequence,
        headers=[
            quarantine_pb2.Header(name="Nats-Msg-Id", value=f"{tenant}:acc:{sequence}"),
            quarantine_pb2.Header(name="tenant-id", value=tenant),
            quarantine_pb2.Header(name="penstock-type", value=type),
            quarantine_pb2.Header(name="x-stranger", value=f"head{STEERING}er"),
        ],
        body=body,
        reason=quarantine_pb2.QUARANTINE_REASON_POISONED,
        code=code,
        detail=f"it said {STEERING}",
        attempts=1,
    )
    record.at.GetCurrentTime()
    return record


@pytest.fixture(scope="module")
def kept(installed):
    """Three messages of acme and one of its twin, in quarantine; the ids of acme's, newest first."""
    for tenant in ("acme", "twin"):
        assert installed.call("tenant", "create", tenant).code == 0
    said = message_pb2.Message(tenant="acme", event_id="evt-1", text=f"Hello{STEERING} you")
    records = [
        quarantined(1, said.SerializeToString()),
        quarantined(2, b"\xff\x00 no message"),
        quarantined(3, b"\x01\x02", code="other", type="no.such.Type"),
        quarantined(4, b"a secret of twin", tenant="twin"),
    ]

    async def keep():
        found = configuration.load({name: installed.environ[name] for name in ("PENSTOCK_DATA", "XDG_CONFIG_HOME")})
        async with house.of_running_installation(found) as joined:
            for record in records:
                bound = context.start(ids.tenant_id(record.tenant))
                outgoing = route.QUARANTINED.encode(bound, record)
                await joined.quarantine.handle(bound, Delivered(dict(outgoing.headers), outgoing.body))

    asyncio.run(keep())
    return [row["id"] for row in installed.call("quarantine", "ls", "-t", "acme", "--json").document]


def test_a_list_shows_what_was_given_up_and_why(installed, kept):
    rows = installed.call("quarantine", "ls", "-t", "acme", "--json").document
    assert [row["sequence"] for row in rows] == [3, 2, 1]
    assert {row["consumer"] for row in rows} == {"app_acme_echo"}
    assert not any("body" in row or "headers" in row for row in rows)
    only = installed.call("quarantine", "ls", "-t", "acme", "--code", "other", "--json").document
    assert [row["id"] for row in only] == kept[:1]
    assert len(installed.call("quarantine", "ls", "-t", "acme", "--limit", "2", "--json").document) == 2
    assert installed.call("quarantine", "ls", "-t", "acme", "--consumer", "nobody").out == "nothing is in quarantine\n"


def test_a_message_is_shown_whole_in_words_or_in_base64(installed, kept):
    bodies = [installed.call("quarantine", "show", id, "-t", "acme", "--json").document["body"] for id in kept]
    assert bodies[2]["text"] == f"Hello{STEERING} you"
    assert base64.b64decode(bodies[1]["base64"]) == b"\xff\x00 no message"
    assert base64.b64decode(bodies[0]["base64"]) == b"\x01\x02"


def test_what_a_stranger_wrote_steers_no_terminal(installed, kept):
    pages = [installed.call("quarantine", "show", id, "-t", "acme") for id in kept]
    pages += [installed.call("quarantine", "show", id, "-t", "acme", "--json") for id in kept]
    pages += [installed.call("quarantine", "ls", "-t", "acme")]
    for page in pages:
        assert page.code == 0
        assert all(line.isprintable() for line in page.out.removesuffix("\n").split("\n"))
    assert "Hello" in pages[2].out


def test_a_twin_sees_its_own_only(installed, kept):
    (theirs,) = installed.call("quarantine", "ls", "-t", "twin", "--json").document
    for verb in ("show", "redrive"):
        foreign = installed.call("quarantine", verb, theirs["id"], "-t", "acme")
        assert foreign.code == 4
        assert "secret" not in foreign.out + foreign.err


def test_one_is_sent_again_and_then_those_that_were_not(installed, kept, tmp_path):
    first = installed.call("quarantine", "redrive", kept[0], "-t", "acme", "--json").document
    assert first["redriven"] == 1
    body = tmp_path / "mended"
    body.write_bytes(message_pb2.Message(tenant="acme", text="mended").SerializeToString())
    mended = installed.call("quarantine", "redrive", kept[1], "-t", "acme", "--body", str(body))
    assert (mended.code, mended.out) == (0, "1 sent again\n")
    assert installed.call("quarantine", "redrive", "--all", "-t", "acme", "--json").document == {"redriven": 1}
    assert installed.call("quarantine", "redrive", "--all", "-t", "acme", "--json").document == {"redriven": 0}
    rows = installed.call("quarantine", "ls", "-t", "acme", "--json").document
    assert all(row["redriven_at"] for row in rows)
    (theirs,) = installed.call("quarantine", "ls", "-t", "twin", "--json").document
    assert theirs["redriven_at"] is None


def test_nothing_that_was_given_up_is_an_empty_list_and_nothing_to_revive(installed):
    assert installed.call("tenant", "create", "tidy").code == 0
    assert installed.call("outbox", "ls", "-t", "tidy", "--json").document == []
    assert installed.call("outbox", "revive", "-t", "tidy", "--json").document == {"revived": 0}
    assert "nothing was given up" in installed.call("outbox", "ls", "-t", "tidy").out
    assert installed.call("outbox", "ls", "-t", "a.b").code == 2
