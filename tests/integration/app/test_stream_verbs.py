"""Streams and durables from the shell: on an installation, on a server by its URL, and from one copy to three."""

import asyncio
import contextlib
import dataclasses
import datetime
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import pytest

from penstock.app import apps, examples
from penstock.base import settings
from penstock.servers import testing
from penstock.spine import consumer, payload, ports, stream
from penstock.spine import settings as spine_settings
from penstock.spine.adapters import payloads_nats, spine_nats
from penstock.spine.plane import address as addresses
from tests import cluster
from tests.integration.app import installation
from tests.unit.cli import calling

T = TypeVar("T")
TENTH = datetime.timedelta(seconds=0.1)
NAMES = [policy.name for policy in stream.STREAMS]
DURABLES = [durable.name for policy in consumer.CONSUMERS for durable in policy.durables()]


class At:
    """Verbs and a client of our own at one NATS server."""

    def __init__(self, url: str, **environ: str) -> None:
        self.url, self._environ = url, environ

    def call(self, *arguments: str, **more: str) -> calling.Outcome:
        return calling.call("stream", *arguments, environ={"PENSTOCK_NATS_URL": self.url, **self._environ, **more})

    def work(self, work: Callable[[ports.Spine], Awaitable[T]]) -> T:
        async def connected() -> T:
            async with self.connected() as spine:
                return await work(spine)

        return asyncio.run(connected())

    @property
    def address(self) -> addresses.Address:
        nats = settings.load(spine_settings.NatsSettings, "nats", {}, self._environ)
        return spine_nats.NatsSpine.address(self.url, nats)

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[ports.Spine]:
        spine = await spine_nats.NatsSpine.connect(self.address, wait_s=10)
        yield spine
        await spine.close()


@pytest.fixture
def server():
    with testing.running(testing.running_nats) as endpoint:
        yield At(endpoint.url_with_credentials())


def message(number: int) -> ports.Outgoing:
    subject = "tenant.acme.receipts.p01.acc"
    return ports.Outgoing("RECEIPTS", subject, "k", {"Nats-Msg-Id": f"acme:{number}"}, b"x" * 1000)


async def publish(spine: ports.Spine, count: int) -> None:
    for number in range(count):
        await spine.publish(message(number))


async def aged(spine: ports.Spine) -> None:
    """Return when the last receipt is older than a tenth of a second."""
    state = await spine.stream_state("RECEIPTS")
    assert state is not None
    async with asyncio.timeout(20):
        while await spine.first_since("RECEIPTS", datetime.datetime.now(datetime.UTC) - TENTH) <= state.last:
            await asyncio.sleep(0.02)


async def fewer(spine: ports.Spine, most: int) -> None:
    """Return when there are no more receipts than that: a server drops what is too old a moment later."""
    async with asyncio.timeout(20):
        while (state := await spine.stream_state("RECEIPTS")) is not None and state.messages > most:
            await asyncio.sleep(0.02)


def test_an_installation_is_as_it_asks(installed):
    shown = installed.call("stream", "ls")
    assert shown.code == 0, shown.err
    assert [line.split()[0] for line in shown.out.splitlines()[1 : len(NAMES) + 1]] == NAMES
    listed = installed.call("stream", "ls", "--json").document
    assert [one["name"] for one in listed] == NAMES
    assert all(one["copies"] == one["replicas"] == 1 for one in listed)
    assert {each["consumer"] for one in listed for each in one["consumers"]} >= {"outbound", "quarantine"}
    assert all(one["lost"] == [] for one in listed)
    differs = installed.call("stream", "diff")
    assert (differs.code, differs.out) == (0, "all is as asked\n")
    applied = installed.call("stream", "apply", "--yes", "--json")
    assert (applied.code, applied.document) == (0, {"dry_run": False, "done": [], "left": []})


def test_an_apps_consumer_is_one_of_eight_durables_that_are_as_asked(installed):
    assert installed.call("tenant", "create", "streamer").code == 0

    async def look() -> list[calling.Outcome]:
        of_app = {**installed.environ, "PENSTOCK_TENANT": "streamer"}
        async with apps.running(examples.path("echo") / "app.py", of_app):
            return [
                await asyncio.to_thread(installation.run, installed.environ, "stream", *words)
                for words in (["ls", "--json"], ["diff"])
            ]

    listed, differs = asyncio.run(look())
    consumers = {each["consumer"]: each for one in listed.document for each in one["consumers"]}
    assert len(consumers["app_streamer_echo"]["durables"]) == 8
    assert (differs.code, differs.out) == (0, "all is as asked\n")


def test_nothing_running_and_nobody_there_say_the_next_step(tmp_path):
    nothing = calling.call("stream", "ls", environ={"PENSTOCK_DATA": str(tmp_path)})
    assert (nothing.code, "penstock up" in nothing.err) == (75, True)
    nobody = At("nats://user:hush@127.0.0.1:9").call("diff", "--json")
    assert (nobody.code, nobody.error["code"]) == (75, "nats_unreachable")
    assert "hush" not in nobody.err


def test_wrong_credentials_are_forbidden(server):
    wrong = At(server.url.replace("@", "-wrong@")).call("ls", "--json")
    assert (wrong.code, wrong.error["code"]) == (3, "nats_auth")


def test_an_empty_server_is_filled_once(server):
    assert server.call("ls").out == "no stream is there yet\n"
    assert server.call("ls", "--json").document == []
    missing = server.call("diff", "--json")
    assert missing.code == 1
    assert [(s["stream"], s["durable"], s["verdict"]) for s in missing.document["steps"] if not s["durable"]] == [
        (name, "", "create") for name in NAMES
    ]
    dry = server.call("apply", "--json")
    assert (dry.code, dry.document["dry_run"], len(dry.document["done"])) == (0, True, len(NAMES) + len(DURABLES))
    assert server.call("ls", "--json").document == []
    assert server.call("apply", "--yes").code == 0
    again = server.call("apply", "--yes")
    assert (again.code, again.out) == (0, "all is as asked\n")
    assert server.call("diff").code == 0


def test_consumers_are_shown_together_and_durables_on_request(server):
    server.call("apply", "--yes")
    grouped = {each["consumer"]: each for one in server.call("ls", "--json").document for each in one["consumers"]}
    assert set(grouped) == {policy.name for policy in consumer.CONSUMERS}
    for policy in consumer.CONSUMERS:
        assert grouped[policy.name]["durables"] == [durable.name for durable in policy.durables()]
    every = [each for one in server.call("ls", "--durables", "--json").document for each in one["consumers"]]
    assert sorted(each["consumer"] for each in every) == sorted(DURABLES)


def test_buckets_are_listed_on_request_and_those_of_others_are_never_changed(server):
    server.work(lambda spine: spine.key_value("things"))
    assert server.call("ls", "--json").document == []
    (bucket,) = server.call("ls", "--all", "--json").document
    assert bucket["name"] == "KV_things"
    asked = server.call("diff", "--json", PENSTOCK_SPINE__REPLICAS="3").document["steps"]
    assert "KV_things" not in {step["stream"] for step in asked}


def assert_copies(at: At, count: int, *, apart: str = "") -> None:
    """Every stream and bucket but one has as many copies, and all become current: one may fall behind at any time."""
    deadline = time.monotonic() + 20
    while True:
        listed = [one for one in at.call("ls", "--all", "--json").document if one["name"] != apart]
        assert {one["replicas"] for one in listed} == {count}
        if {one["copies"] for one in listed} == {count}:
            return
        assert time.monotonic() < deadline, listed


async def with_buckets(spine: ports.Spine) -> None:
    await (await spine.key_value("penstock_things")).put("key", b"value")
    await spine.key_value("things")


async def with_payload(at: At, reference: payload.Reference | None = None) -> payload.Reference:
    """Put a payload, or read it; both twice, since each copy may answer."""
    store = await payloads_nats.NatsPayloads.connect(at.address, wait_s=10)
    await store.provide(payload.BucketPolicy("parser"))
    whole = bytes(range(256)) * 2000
    for _ in range(2):
        put = await store.put("parser", "acme", whole, payload.Terms(600))
        found = [piece async for piece in store.get("acme", reference or put)]
        assert b"".join(found) == whole
    await store.close()
    return reference or put


def test_our_own_buckets_get_as_many_copies_as_streams_and_keep_all_else(clustered):
    clustered.work(with_buckets)
    reference = asyncio.run(with_payload(clustered))
    stranger = {one["name"]: one for one in clustered.call("ls", "--all", "--json").document}["KV_things"]
    for replicas in (3, 1):
        asked = {"PENSTOCK_SPINE__REPLICAS": str(replicas)}
        assert clustered.call("apply", "--yes", **asked).code == 0
        found = {one["name"]: one for one in clustered.call("ls", "--all", "--json").document}
        # Those it is to have: how many are current may change by itself.
        assert found["KV_things"]["replicas"] == stranger["replicas"]
        assert asyncio.run(with_payload(clustered, reference)) == reference
        assert_copies(clustered, replicas, apart="KV_things")
        assert clustered.call("diff", **asked).code == 0

    async def value(spine: ports.Spine) -> bytes | None:
        entry = await (await spine.key_value("penstock_things")).get("key")
        return entry and entry.value

    assert clustered.work(value) == b"value"


def spoil(server: At, **changes: Any) -> None:
    """Make everything as asked, but for RECEIPTS, which gets these fields."""
    server.call("apply", "--yes")
    server.work(lambda spine: spine.update_stream(dataclasses.replace(stream.RECEIPTS, **changes)))


def test_every_field_is_told_and_mended(server):
    changes = {
        "subjects": ("tenant.*.receipts.>", "tenant.*.more"),
        "max_age_s": 86_400.0,
        "max_bytes": 1 << 20,
        "duplicate_window_s": 60.0,
        "discard": "new",
    }
    spoil(server, **changes)
    told = server.call("diff", "--json")
    assert (told.code, {step["field"] for step in told.document["steps"]}) == (1, set(changes))
    assert server.call("apply", "--yes").code == 0
    assert server.call("diff").code == 0
    assert server.work(lambda spine: spine.describe_stream("RECEIPTS")) == stream.RECEIPTS


def test_a_durables_limits_are_mended_and_a_stranger_is_left_alone(server):
    server.call("apply", "--yes")
    durable = consumer.OUTBOUND.durables()[0]

    async def spoiled(spine: ports.Spine) -> None:
        await spine.update_consumer(dataclasses.replace(durable, ack_wait_s=20.0, max_deliver=7))
        await spine.create_consumer(dataclasses.replace(consumer.QUARANTINE, name="mine"))

    server.work(spoiled)
    told = server.call("diff", "--json").document
    assert [(step["durable"], step["field"]) for step in told["steps"]] == [
        (durable.name, "ack_wait_s"),
        (durable.name, "max_deliver"),
    ]
    assert told["strangers"] == ["QUARANTINE/mine"]
    assert server.call("apply", "--yes").code == 0
    mended = server.call("diff")
    assert (mended.code, "QUARANTINE/mine: nothing of this build asks for it" in mended.out) == (0, True)


def test_a_setting_of_a_consumer_is_what_is_asked(server, tmp_path):
    server.call("apply", "--yes")
    file = tmp_path / "penstock.toml"
    file.write_text("[spine.consumers.quarantine]\nack_wait_s = 45\n")
    tuned = {"PENSTOCK_CONFIG": str(file)}
    told = server.call("diff", "--json", **tuned).document["steps"]
    assert [(step["durable"], step["found"], step["wanted"]) for step in told] == [("quarantine", "10", "45")]
    assert server.call("apply", "--yes", **tuned).code == 0
    assert server.call("diff", **tuned).code == 0


@pytest.mark.parametrize(("field", "value", "lost"), [("max_bytes", 11_000, 10), ("max_age_s", 0.1, 20)])
def test_what_loses_messages_needs_permission_and_says_how_many(server, field, value, lost, monkeypatch):
    server.call("apply", "--yes")
    server.work(lambda spine: publish(spine, 20))
    server.work(aged)
    smaller = dataclasses.replace(stream.RECEIPTS, duplicate_window_s=0.1, **{field: value})
    monkeypatch.setattr(stream, "STREAMS", (smaller,))
    refused = server.call("apply", "--yes", "--json")
    (step,) = refused.document["left"]
    assert (refused.code, step["field"], step["verdict"]) == (1, field, "loses")
    assert lost <= step["messages"] <= lost + 2
    assert server.work(lambda spine: spine.stream_state("RECEIPTS")).messages == 20
    done = server.call("apply", "--yes", "--allow-loss")
    assert (done.code, "drops about" in done.out) == (0, True)
    assert server.call("diff").code == 0
    server.work(lambda spine: fewer(spine, 20 - lost))


def test_a_retention_is_refused_by_name_and_the_rest_is_done(server):
    work = dataclasses.replace(stream.RECEIPTS, retention="workqueue", max_age_s=3600.0)
    server.work(lambda spine: spine.create_stream(work))
    done = server.call("apply", "--yes", "--json")
    assert done.code == 1
    assert [(step["field"], step["verdict"]) for step in done.document["left"]] == [("retention", "refused")]
    assert "max_age_s" in {step["field"] for step in done.document["done"]}
    left = server.call("diff")
    assert (left.code, len(left.out.splitlines())) == (1, 2)
    assert "retention" in left.out


def test_three_copies_need_a_cluster(server):
    server.call("apply", "--yes")
    refused = server.call("apply", "--yes", PENSTOCK_SPINE__REPLICAS="3")
    assert (refused.code, "cluster of at least 3 nats-servers" in refused.err) == (5, True)
    dry = server.call("apply", PENSTOCK_SPINE__REPLICAS="3")
    assert (dry.code, "needs a cluster of at least 3 servers" in dry.out) == (0, True)
    assert server.call("diff").code == 0


@pytest.fixture
def clustered(nats_cluster):
    """The shared cluster, without a stream."""
    asyncio.run(nats_cluster.delete_streams())
    login = f"{nats_cluster.user}:{nats_cluster.password}@"
    yield At(nats_cluster.urls.replace("://", f"://{login}"), PENSTOCK_NATS__CA_FILE=str(nats_cluster.authority))
    asyncio.run(nats_cluster.settled())
    asyncio.run(nats_cluster.delete_streams())


def test_one_copy_becomes_three_and_one_again_under_load(clustered):
    assert clustered.call("apply", "--yes").code == 0
    clustered.work(lambda spine: publish(spine, 500))
    stop, sent = threading.Event(), list[int]()

    async def go_on(spine: ports.Spine) -> None:
        number = 500
        while not stop.is_set():
            sent.append((await spine.publish(message(number))).sequence)
            number += 1

    writer = threading.Thread(target=lambda: clustered.work(go_on))
    writer.start()
    try:
        raised = clustered.call("apply", "--yes", PENSTOCK_SPINE__REPLICAS="3")
        assert (raised.code, raised.out.splitlines()[-1]) == (0, f"{len(NAMES)} done"), raised.err
        assert "copies current" in raised.err
        assert_copies(clustered, 3)
        assert clustered.call("diff", PENSTOCK_SPINE__REPLICAS="3").code == 0
        assert clustered.call("apply", "--yes", PENSTOCK_SPINE__REPLICAS="3").out == "all is as asked\n"
        assert clustered.call("apply", "--yes").code == 0
        assert_copies(clustered, 1)
    finally:
        stop.set()
        writer.join()
    assert sent == list(range(501, 501 + len(sent)))
    state = clustered.work(lambda spine: spine.stream_state("RECEIPTS"))
    assert state is not None
    assert (state.messages, state.last) == (500 + len(sent), 500 + len(sent))


def test_a_cluster_that_is_too_small_is_named(clustered: At, nats_cluster: cluster.Cluster):
    assert clustered.call("apply", "--yes").code == 0
    refused = clustered.call("apply", "--yes", "--json", PENSTOCK_SPINE__REPLICAS="5")
    assert (refused.code, refused.error["code"]) == (5, "not_enough_servers")
    assert_copies(clustered, 1)
