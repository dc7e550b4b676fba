"""The load generator is honest: latency counts from when a message was due, and what is missing fails the run."""

import asyncio
import time

import pytest

from bench import load
from penstock.channels.testing import webhook_platform, webhook_sender

SMALL = load.Load(rate_per_s=1000, warm_up_s=0.01, measured_s=0.04, conversations=3, drain_s=0.1)


def arrival(text, at_s, *, duplicate=False):
    command = webhook_platform.Command(command_id="c", account="a", conversation="room-0", text=f"You said: {text}")
    return webhook_platform.Arrival(at_s, "hook", "message.send", command, duplicate, True, 200, "msg")


def answers(begin_s, offered, *, late_s=0.25):
    """`begin_s`: when the first message after the warm-up was due."""
    due = [begin_s + (n - offered.warm_up_count) / offered.rate_per_s for n in range(offered.count)]
    return [arrival(load.text(n), at_s + late_s) for n, at_s in enumerate(due)]


class Platform:
    """Stands in for the simulator: what is said is answered at once, but for what `forgets` says."""

    def __init__(self, *, forgets=lambda number: False, status=200, stalls_s=0.0):
        self.arrivals, self.duplicates, self.faults, self.said = [], 0, [], []
        self._forgets, self._status, self._stalls_s = forgets, status, stalls_s

    async def say(self, conversation, text):
        if self._stalls_s and len(self.said) == 20:
            time.sleep(self._stalls_s)  # noqa: ASYNC251 - a generator that cannot send in time
        self.said.append((conversation, text))
        if not self._forgets(len(self.said) - 1):
            self.arrivals.append(arrival(text, time.perf_counter()))
        return webhook_sender.Posted("e", "m", self._status, b"", "h", 0.0, 1, b"")

    async def until(self, condition, *, timeout_s):
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.005)


def test_latency_counts_from_when_a_message_was_due_without_the_warm_up():
    measured = load.latencies_ms(answers(100.0, SMALL), 100.0, SMALL)
    assert len(measured) == 40
    assert measured == pytest.approx([250] * 40)


def test_what_is_not_answered_fails_the_run_even_in_the_warm_up():
    with pytest.raises(load.Unkept, match=r"1 of 50 messages have no answer, the first is 'You said: message 3'"):
        load.latencies_ms([one for one in answers(0.0, SMALL) if one.command.text[10:] != "message 3"], 0.0, SMALL)


def test_an_answer_that_comes_as_a_new_message_fails_the_run():
    with pytest.raises(load.Unkept, match="answered twice: You said: message 7"):
        load.latencies_ms([*answers(0.0, SMALL), arrival("message 7", 99.0)], 0.0, SMALL)


def test_a_repeated_request_counts_once_as_of_its_first_arrival():
    repeated = [*answers(0.0, SMALL), arrival("message 7", 99.0, duplicate=True)]
    assert max(load.latencies_ms(repeated, 0.0, SMALL)) == pytest.approx(250)


async def test_everything_is_said_in_turn_and_answered():
    platform = Platform()
    assert len(await load.offer(platform, SMALL)) == 40
    assert [text for _, text in platform.said] == [load.text(number) for number in range(50)]
    assert [conversation for conversation, _ in platform.said[:4]] == ["room-0", "room-1", "room-2", "room-0"]


async def test_a_generator_that_was_held_up_counts_the_wait_as_latency():
    measured = await load.offer(Platform(stalls_s=0.08), SMALL)
    assert measured[-1] > 60


async def test_a_loss_is_told_when_time_is_over():
    with pytest.raises(load.Unkept, match="1 of 50"):
        await load.offer(Platform(forgets=lambda number: number == 20), SMALL)


async def test_a_webhook_that_is_refused_fails_the_run():
    with pytest.raises(load.Unkept, match="50 webhooks not taken"):
        await load.offer(Platform(status=503), SMALL)


def test_percentiles_are_of_the_values_given():
    values = [float(number) for number in range(101)]
    assert (load.percentile(values, 50), load.percentile(values, 99)) == (50, 99)
