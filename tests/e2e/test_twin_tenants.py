"""Two tenants in whom everything collides, on one installation: neither sees, hears, reaches or changes the other."""

import io
import itertools
import json
import time

import httpx
import pytest

from penstock.base import settings
from penstock.channels import ports as channel_ports
from penstock.channels.adapters import standard_webhooks
from penstock.channels.model import account
from penstock.messages.v1 import desk_pb2, outbound_pb2
from penstock.servers import testing as servers
from tests.e2e import processes, records, twin_bus, twin_platforms, twin_routes, twin_verbs, twins
from tests.unit.cli import tree

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

NOT_FOUND = 4
NOWHERE = "0" * 32
END_OF_STREAM = 1 << 40


@pytest.fixture(scope="module")
def stage():
    """One installation for everything that is asked here."""
    with servers.temporary_folder() as folder:
        try:
            with twins.running(folder) as made:
                yield made
        finally:
            processes.kill(folder)


@pytest.fixture
def globex_unchanged(stage):
    """Whatever is done meanwhile as acme: all of globex is afterwards as it was before."""
    before = stage.all_of(twins.GLOBEX)
    assert sum(map(len, before.values())) > 40, "there is much to change"
    yield
    after = stage.all_of(twins.GLOBEX)
    assert {name: after[name] for name in before if after[name] != before[name]} == {}


def ids_of(stage, channel, **whose):
    """What stands for `{...}` on a channel: ids of acme, who asks, and `whose` else."""
    acme = stage.acme
    own = {
        "own": acme.accounts[channel],
        "own_tenant": twins.ACME,
        "own_quarantined": acme.quarantined[channel],
        "channel": channel,
        "event": acme.unknown[channel],
        "folder": str(stage.running.data.parent),
        "message": acme.posted[channel][0].message_id,
        "room": acme.rooms[channel],
        "sender": acme.senders[channel],
    }
    return {**own, **whose}


def theirs(stage, channel):
    """The ids of globex."""
    globex = stage.globex
    return {
        "account": globex.accounts[channel],
        "secret": globex.secrets[channel],
        "quarantined": globex.quarantined[channel],
        "tenant": globex.tenant,
    }


def nobodys():
    """Ids as well-formed as those, of nothing."""
    return {"account": account.new_account_id(), "secret": NOWHERE, "quarantined": NOWHERE, "tenant": "nobody"}


def of_acme_alone(stage, text):
    """Whether nothing of globex is in a text; names what is."""
    found = sorted(mark for mark in stage.globex.marks if mark in text)
    assert found == [], text


def test_the_twins_collide_and_each_has_its_own_answers(stage):
    for channel, ours in stage.acme.posted.items():
        theirs = stage.globex.posted[channel]
        assert [(each.event_id, each.message_id) for each in ours] == [
            (each.event_id, each.message_id) for each in theirs
        ], f"say in twin_platforms.PLATFORMS how two platforms of {channel} give the same ids"
    assert stage.acme.unknown == stage.globex.unknown
    assert (stage.acme.rooms, stage.acme.senders) == (stage.globex.rooms, stage.globex.senders)
    for twin in (stage.acme, stage.globex):
        for platform in twin.platforms.values():
            answers = [*(f"You said: {text}" for text in twin.words), f"{twin.tenant} notice"]
            assert [one.text for one in platform.heard(twins.ROOM)] == answers
            assert platform.faults == []


def test_every_verb_is_on_a_list():
    verbs = tree.verbs()
    assert set(verbs) == twin_verbs.known(), "say of a new verb what a tenant could try with it on another"
    of_a_tenant = {name for name, verb in verbs.items() if twin_verbs.asks_for_a_tenant(verb)}
    assert of_a_tenant == twin_verbs.known() - set(twin_verbs.OF_NO_TENANT)


@pytest.mark.usefixtures("globex_unchanged")
def test_what_is_anothers_is_as_what_is_nowhere(stage):
    for tenant in (twins.GLOBEX, "nobody"):
        listed = [{**each, "tenant": tenant} for each in stage.verb("person", "erased", "-t", twins.GLOBEX)]
        (stage.running.data.parent / f"{tenant}.json").write_text(json.dumps(listed))
        assert listed
    for channel in stage.acme.platforms:
        for verb, tries in twin_verbs.ABOUT_ANOTHERS.items():
            # Each try on one channel, and each verb on all of them.
            for words in tries if channel == "webhook" else tries[:1]:
                told = []
                for whose in (theirs(stage, channel), nobodys()):
                    ids = ids_of(stage, channel, **whose)
                    ended = stage.call(*twin_verbs.asked(verb, words, twins.ACME, ids), "--json")
                    told.append(twin_verbs.masked(ended, ids))
                assert told[0] == told[1], (verb, words)
                code, out, _ = told[0]
                assert (code, out) == (NOT_FOUND, "") or (code == 0 and out.strip() in twin_verbs.NOTHING), (verb, told)


@pytest.mark.usefixtures("globex_unchanged")
def test_what_is_ones_own_is_told_without_the_other(stage):
    files = (stage.running.data.parent / f"export-{number}.ndjson" for number in itertools.count())
    for channel in stage.acme.platforms:
        ids = ids_of(stage, channel)
        for verb, tries in twin_verbs.ABOUT_OWN.items():
            for words in tries:
                for form in (("--json",), ())[: 2 if channel == "webhook" else 1]:
                    ids["new_file"] = str(next(files))
                    ended = stage.call(*twin_verbs.asked(verb, words, twins.ACME, ids), *form)
                    assert ended.code == 0, (verb, words, ended)
                    assert ended.out.strip() not in twin_verbs.NOTHING, (verb, words)
                    of_acme_alone(stage, ended.out + ended.err)
    exported = [file.read_text() for file in stage.running.data.parent.glob("export-*.ndjson")]
    assert len(exported) == 1 + len(stage.acme.platforms)
    for text in exported:
        assert all(words in text for words in stage.acme.words)
        of_acme_alone(stage, text)


@pytest.mark.usefixtures("globex_unchanged")
def test_what_is_sent_after_all_is_ones_own(stage):
    assert len(stage.verb("outbox", "ls", "-t", twins.ACME)) == 1
    assert stage.verb("outbox", "revive", "-t", twins.ACME) == {"revived": 1}
    assert stage.verb("outbox", "ls", "-t", twins.ACME) == []
    assert len(stage.verb("outbox", "ls", "-t", twins.GLOBEX)) == 1


def test_one_hears_what_is_said_to_oneself(stage):
    """Both are spoken to in rooms of one name, all the time that acme listens."""

    async def talk():
        for twin in (stage.globex, stage.acme):
            for platform in twin.platforms.values():
                await platform.say(twins.ROOM, f"{twin.tenant} goes on")

    for chosen in ((), ("-c", twins.ROOM), ("--grep", "goes on")):
        with stage.background.going_on(talk):
            ended = stage.call("message", "tail", "-t", twins.ACME, *chosen, "--limit", "9", "--for", "60", "--json")
        assert ended.code == 0
        assert len(ended.out.splitlines()) == 9
        of_acme_alone(stage, ended.out)


def test_a_terminal_hears_its_own_app(stage, monkeypatch):
    for tenant in (twins.ACME, twins.GLOBEX):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{tenant} at the terminal\n"))
        ended = stage.call("chat", "-t", tenant)
        assert (ended.code, ended.out) == (0, f"{twins.APP}> You said: {tenant} at the terminal\n"), ended.err


def test_every_route_is_on_a_list():
    known = {*twin_routes.OF_NO_TENANT, *twin_routes.OF_A_TENANT}
    assert twin_routes.served() == known, "say of a new route what it tells one tenant of another"


@pytest.mark.usefixtures("globex_unchanged")
def test_ones_secret_opens_nothing_of_anothers(stage):
    """Signed by acme's platform, posted to globex: refused; and where no account is, as in any other such place."""

    async def post(channel, url):
        platform = twin_platforms.copy_of(stage.acme.platforms[channel], url)
        try:
            return (await platform.say(twins.ROOM, "let me in")).status
        finally:
            await platform.disconnect()

    base = stage.running.http_url
    for channel in stage.acme.platforms:
        at_globex = f"{base}/webhooks/{channel}/{stage.globex.accounts[channel]}"
        assert stage.background.run(post(channel, at_globex)) == 401
        for other in {*stage.acme.platforms, "terminal"} - {channel}:
            told = [
                httpx.post(f"{base}/webhooks/{other}/{place}", json={}, timeout=30)
                for place in (stage.globex.accounts[channel], account.new_account_id())
            ]
            assert [each.status_code for each in told] == [404, 404]
            assert len({each.json()["title"] for each in told}) == 1


@pytest.mark.usefixtures("globex_unchanged")
def test_no_reply_is_told_to_anothers_terminal(stage):
    credentials = channel_ports.Credentials((settings.Secret(stage.acme.terminal_secret),))
    signed = standard_webhooks.sign(credentials, "twin", int(time.time()), b"")
    told = {}
    for name, place in (("globex", stage.globex.accounts["terminal"]), ("nobody", account.new_account_id())):
        url = f"{stage.running.http_url}/v1/terminal/{place}/replies"
        told[name] = httpx.get(url, headers=signed, timeout=30)
    assert [each.status_code for each in told.values()] == [401, 404]
    for each in told.values():
        of_acme_alone(stage, each.text)


def test_what_tells_of_the_process_tells_of_no_tenant(stage):
    for path in (*twin_routes.OF_NO_TENANT, "/ready", "/ready?tenant=acme"):
        text = httpx.get(stage.running.http_url + path, timeout=30).text
        found = {mark for twin in (stage.acme, stage.globex) for mark in (*twin.words, *twin.accounts.values())}
        assert not any(mark in text for mark in found), path


@pytest.mark.usefixtures("globex_unchanged")
def test_on_the_bus_anothers_subjects_are_as_those_of_nobody(stage):
    """Asked with the login of acme's apps."""

    async def ask():
        async with twin_bus.app(stage.running.environ, twins.ACME) as link:
            return [await twin_bus.answers(link, tenant) for tenant in (twins.GLOBEX, "nobody")]

    theirs, nobodys = stage.background.run(ask())
    assert theirs == nobodys
    assert len(theirs) > 30
    assert {status for _, status, _ in theirs} == {"503"}, "nobody is there"


async def _asked_and_answered(twin):
    platform = twin.platforms["webhook"]
    before = len(platform.heard(twins.ROOM))
    assert (await platform.say(twins.ROOM, f"{twin.tenant} asks")).ok
    await platform.until(lambda: len(platform.heard(twins.ROOM)) > before, timeout_s=60)


def test_an_app_hears_nothing_of_another_tenant_whatever_it_listens_to(stage):
    heard = []

    async def listen():
        async with twin_bus.app(stage.running.environ, twins.ACME) as link:
            for pattern in (">", "tenant.>", "penstock.>", f"tenant.{twins.GLOBEX}.>", "$JS.>", "$KV.>", "$O.>"):
                link.subscribe(pattern, lambda message: heard.append(f"{message.subject} {message.body}"))
            for twin in (stage.globex, stage.acme):
                await _asked_and_answered(twin)

    stage.background.run(listen())
    assert any(f"tenant.{twins.ACME}.messages.out." in one for one in heard), "what acme's own app says"
    of_acme_alone(stage, "\n".join(heard))


@pytest.mark.usefixtures("globex_unchanged")
def test_at_the_desk_anothers_things_are_as_nobodys(stage):
    kinds = [field.name for field in desk_pb2.DeskRequest.DESCRIPTOR.oneofs_by_name["question"].fields]
    assert list(twin_bus.questions(twins.GLOBEX, 1)) == kinds, "say of a new question how it is asked about another"
    sequence = stage.sequence_of(twins.GLOBEX)

    async def ask():
        async with twin_bus.app(stage.running.environ, twins.ACME) as link:
            return [
                await twin_bus.refusals(link, tenant, place)
                for tenant, place in ((twins.GLOBEX, sequence), ("nobody", END_OF_STREAM))
            ]

    theirs, nobodys = stage.background.run(ask())
    assert theirs == nobodys
    for which, reply in theirs:
        assert (reply.refusal.code == "not_yours") != (which == "place" and not reply.found), (which, reply)


@pytest.mark.usefixtures("globex_unchanged")
def test_nobody_speaks_in_anothers_account(stage):
    """A command of acme for globex's account is refused like one for an account that is nowhere."""
    wanted = {"at-globex": stage.globex.accounts["webhook"], "at-nobody": account.new_account_id()}
    before = len(stage.globex.platforms["webhook"].heard(twins.ROOM))

    async def speak():
        async with twin_bus.app(stage.running.environ, twins.ACME) as link:
            for command_id, where in wanted.items():
                await twin_bus.speak(link, where, command_id)
        return await records.receipts_of(stage.running, twins.ACME, set(wanted))

    told = stage.background.run(speak())
    refused = {(each.status, each.code, each.detail) for each in told.values()}
    assert len(refused) == 1
    assert next(iter(refused))[:2] == (outbound_pb2.RECEIPT_STATUS_REJECTED, "no_account")
    assert len(stage.globex.platforms["webhook"].heard(twins.ROOM)) == before
