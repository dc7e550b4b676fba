"""The demonstration counts honestly: what is missing, doubled or out of order shows, whoever the platform is."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from penstock.app import demo
from penstock.channels.testing import simulator as simulated


class Platform:
    """People who can edit and send files; what they hear is scripted: each answer makes `told` of what it was."""

    channel = "scripted"
    abilities = frozenset({"edit", "attach"})

    def __init__(self, told: Callable[[str], Sequence[str]]) -> None:
        self._told = told
        self._heard: list[simulated.Heard] = []
        self.done: list[str] = []

    def _answer(self, what: str, text: str) -> simulated.Posted:
        self.done.append(what)
        for each in self._told(text):
            self._heard.append(simulated.Heard(float(len(self._heard)), "send", each, f"m{len(self._heard)}"))
        return simulated.Posted(f"e{len(self.done)}", f"m{len(self.done)}", 200, b"")

    async def say(self, conversation: str, text: str, *, thread: str = "", reply_to: str = "") -> simulated.Posted:
        assert (thread, reply_to) == ("", ""), "they can do neither"
        return self._answer("say", f"You said: {text}")

    async def edit(self, conversation: str, message_id: str, text: str) -> simulated.Posted:
        return self._answer("edit", f"Edited: {text}")

    async def attach(self, conversation: str, name: str, content: bytes) -> simulated.Posted:
        return self._answer("attach", f"Got {name}")

    async def repeat(self, posted: simulated.Posted) -> simulated.Posted:
        self.done.append("repeat")
        return posted

    def heard(self, conversation: str) -> Sequence[simulated.Heard]:
        return self._heard

    async def until(self, condition: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
        if not condition():
            raise TimeoutError


async def held(told: Callable[[str], Sequence[str]]) -> tuple[demo.Talk, Platform, int]:
    platform, steps = Platform(told), []
    talk = demo.Talk(cast("Any", platform), "room")
    await talk.hold(lambda: steps.append(1))
    return talk, platform, len(steps)


async def test_people_do_what_their_platform_lets_them():
    talk, platform, steps = await held(lambda text: [text])
    assert platform.done == ["say", "repeat", "say", "edit", "attach"]
    assert (talk.length, steps, talk.sent, talk.duplicates) == (4, 4, 4, 1)
    assert talk.compare() == (0, 0, False)
    assert len(talk.latencies_s) == 4


@pytest.mark.parametrize(
    ("told", "found"),
    [
        (lambda text: [] if text.startswith("Got") else [text], (1, 0, False)),
        (lambda text: [text, text] if text.startswith("Edited") else [text], (0, 1, False)),
        (lambda text: ["something else"] if text.startswith("Edited") else [text], (1, 1, True)),
        (lambda text: [], (4, 0, False)),
    ],
)
async def test_what_is_lost_or_doubled_shows(told: Callable[[str], Sequence[str]], found: tuple[int, int, bool]):
    assert (await held(told))[0].compare() == found


async def test_what_is_out_of_order_shows():
    talk, platform, _ = await held(lambda text: [text])
    platform._heard.reverse()
    assert talk.compare() == (0, 0, True)


def report(**changed: Any) -> demo.Report:
    kept = {"lost": 0, "doubled": 0, "out_of_order": 0, "duplicates_sent": 2, "duplicates_suppressed": 2, "faults": 0}
    times = {"p50_ms": 1.0, "p95_ms": 1.0, "p99_ms": 1.0, "seconds": 1.0}
    return demo.Report(channels={"webhook": demo.Counted(12, 12)}, **{**kept, **times, **changed})


@pytest.mark.parametrize("name", ["lost", "doubled", "out_of_order", "faults", "duplicates_suppressed"])
def test_one_thing_wrong_is_no_good_report(name: str):
    assert report().good
    assert not report(**{name: 1}).good
