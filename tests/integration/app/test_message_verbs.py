"""Listening to conversations and speaking in one, from the shell of a running installation with two tenants."""

import asyncio
import contextlib
import json
import signal
import subprocess
import threading
import time

import pytest

from penstock.channels.testing import webhook_sender, webhook_simulator
from tests.integration.app import installation

STEERING = "\x1b[2J\x9b31m\u202e"
HEARS_S = 40.0


class Stage:
    """Two tenants, each with an account on a platform of its own; the platforms live in a thread of theirs."""

    def __init__(self, installed):
        self.installed, self.loop = installed, asyncio.new_event_loop()
        self.platforms, self.accounts = {}, {}

    def on_platform(self, work):
        """The result of a coroutine that talks to a platform."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(HEARS_S)

    def settle_in(self, tenant):
        """Make the tenant, its platform and its account there."""
        secret = webhook_sender.fresh_secret()
        platform = self.platforms[tenant] = webhook_simulator.WebhookSimulator([secret])
        self.on_platform(platform.start())
        assert self.installed.call("tenant", "create", tenant).code == 0
        chosen = ("--set", f"url={platform.url}", "--secret", "signing=env:SHOP")
        made = self.installed.call("account", "create", "shop", "-t", tenant, *chosen, "--json", SHOP=secret).document
        self.accounts[tenant] = made["id"]
        platform.connect(f"{self.installed.http_url}/webhooks/webhook/{made['id']}")

    def say(self, text, *, tenant="acme", room="room", sender="ann"):
        """Somebody writes on the platform."""
        assert self.on_platform(self.platforms[tenant].say(room, text, sender=sender)).ok

    def send(self, text, *more, tenant="acme", account="", room="room"):
        """`message send --json`; exit code and document."""
        place = ("-t", tenant, "-a", account or self.accounts[tenant], "-c", room)
        ended = self.installed.call("message", "send", text, *place, "--json", *more)
        return ended.code, ended.document if ended.out else ended.error

    def texts(self, tenant="acme", room="room"):
        """What arrived there."""
        return [arrival.command.text for arrival in self.platforms[tenant].arrivals_in(room)]

    @contextlib.contextmanager
    def tail(self, *arguments):
        """`message tail` as a process, once it listens."""
        process = subprocess.Popen(
            [*installation.PENSTOCK, "message", "tail", *arguments],
            env=self.installed.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert "Listening" in process.stderr.readline()
            yield process
        finally:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def stage(installed):
    made = Stage(installed)
    thread = threading.Thread(target=made.loop.run_forever, daemon=True)
    thread.start()
    try:
        for tenant in ("acme", "twin"):
            made.settle_in(tenant)
        yield made
    finally:
        for platform in made.platforms.values():
            made.on_platform(platform.close())
        made.loop.call_soon_threadsafe(made.loop.stop)
        thread.join(HEARS_S)
        made.loop.close()


def lines(process, number):
    """The next lines that it prints."""
    return [process.stdout.readline() for _ in range(number)]


def test_what_is_said_reaches_the_platform_once_under_one_id(stage):
    code, said = stage.send("We are back", "--id", "notice-1", "--wait")
    assert (code, said["state"], said["duplicate"]) == (0, "sent", False)
    assert said["message_id"]
    code, said = stage.send("We are back", "--id", "notice-1", "--wait")
    assert (code, said["state"], said["duplicate"]) == (0, "sent", True)
    assert stage.texts() == ["We are back"]
    code, error = stage.send("We are away", "--id", "notice-1")
    assert (code, error["code"]) == (5, "command_conflict")
    assert stage.platforms["acme"].faults == []


def test_an_end_that_is_none_has_its_own_exit_code(stage):
    platform = stage.platforms["acme"]
    platform.behave(webhook_simulator.Behaviour(status=422, times=1, conversation="refuses"))
    code, said = stage.send("Too much", "--wait", room="refuses")
    assert (code, said["state"]) == (1, "rejected")
    assert said["code"]
    platform.behave(webhook_simulator.Behaviour(status=503, retry_after="600", times=1, conversation="busy"))
    code, said = stage.send("Later", "--wait", "--within", "1", room="busy")
    assert (code, said["state"]) == (6, "running")
    code, said = stage.send("Sometime", room="any")
    assert (code, said["state"]) == (0, "accepted")


def test_nobody_speaks_for_somebody_elses_account(stage):
    code, error = stage.send("Hello", tenant="acme", account=stage.accounts["twin"])
    assert (code, error["code"]) == (4, "no_account")
    code, error = stage.send("Hello", tenant="nobody", account=stage.accounts["acme"])
    assert (code, error["code"]) == (4, "no_tenant")
    for tenant in ("twin", "acme"):
        code, said = stage.send(f"Mine, {tenant}", "--id", "same", "--wait", tenant=tenant, room="twins")
        assert (code, said["duplicate"]) == (0, False)
        assert stage.texts(tenant, "twins") == [f"Mine, {tenant}"]


def test_a_tail_hears_its_tenants_words_both_ways_and_their_receipts(stage):
    with stage.tail("-t", "acme", "--json") as acme, stage.tail("-t", "twin", "--json") as twin:
        stage.say("Are you there?", room="hall")
        assert stage.send("We are", "--id", "here", "--wait", room="hall")[0] == 0
        heard = [json.loads(line) for line in lines(acme, 3)]
        told = [(each["direction"], each["kind"], each["text"]) for each in heard]
        assert told == [("in", "message", "Are you there?"), ("out", "message", "We are"), ("receipts", "sent", "")]
        assert {each["account"] for each in heard} == {stage.accounts["acme"]}
        assert {each["conversation"] for each in heard} == {"hall"}
        assert (heard[1]["id"], heard[2]["id"]) == ("here", "here")
        assert heard[1]["trace_id"] == heard[2]["trace_id"]
        # The twin hears nothing of its neighbour: what it hears first is its own.
        stage.say("Mine alone", tenant="twin")
        assert [json.loads(line)["text"] for line in lines(twin, 1)] == ["Mine alone"]


def test_a_tail_is_filtered_and_ends_by_itself(stage):
    chosen = ("--direction", "in", "--conversation", "second", "--grep", "DOG", "--account", stage.accounts["acme"])
    with stage.tail("-t", "acme", *chosen, "--limit", "2") as process:
        for room, text in (("first", "a dog"), ("second", "a cat"), ("second", "a dog"), ("second", "Dogs")):
            stage.say(text, room=room)
        assert [line.rpartition("> ")[2] for line in lines(process, 2)] == ["a dog\n", "Dogs\n"]
        assert process.wait(HEARS_S) == 0


def test_a_tail_of_nobody_or_of_nothing_is_refused(stage):
    call = stage.installed.call
    brief = call("message", "tail", "-t", "acme", "--conversation", "silent", "--for", "0.1")
    assert (brief.code, brief.out) == (0, "")
    assert call("message", "tail", "-t", "nobody").code == 4
    for wrong in (("--direction", "up"), ("--account", "*.>"), ("--channel", "a.b"), ("--account", "x" * 200)):
        assert call("message", "tail", "-t", "acme", *wrong).code == 2
    assert call("message", "send", "", "-t", "acme", "-a", stage.accounts["acme"], "-c", "room").code == 2


def test_what_a_stranger_writes_steers_no_terminal_and_ctrl_c_is_clean(stage):
    with stage.tail("-t", "acme", "--conversation", "hostile") as process:
        stage.say(f"one{STEERING}\ntwo", room="hostile", sender=f"ann{STEERING}")
        (line,) = lines(process, 1)
        assert line.removesuffix("\n").isprintable()
        assert "one" in line
        assert "two" in line
        process.send_signal(signal.SIGINT)
        assert process.wait(HEARS_S) == 130
        assert "Traceback" not in process.stderr.read()


def test_a_reader_that_leaves_ends_a_tail_without_a_word(stage):
    with stage.tail("-t", "acme", "--conversation", "nobody-reads", "--direction", "in") as process:
        process.stdout.close()
        until = time.monotonic() + HEARS_S
        while process.poll() is None:
            assert time.monotonic() < until
            stage.say("anybody?", room="nobody-reads")
        assert (process.returncode, process.stderr.read()) == (0, "")


def test_a_terminal_that_stands_still_holds_up_nothing_not_even_ctrl_c(stage):
    with stage.tail("-t", "acme", "--conversation", "flood", "--direction", "in") as process:
        for _ in range(3):  # nobody reads: the pipe holds 64 KiB, and what does not fit waits
            stage.say("x" * 30_000, room="flood")
        process.send_signal(signal.SIGINT)
        assert process.wait(HEARS_S) == 130
