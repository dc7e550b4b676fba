"""People who talk in numbered messages, remember what was taken, and wait for every answer.

Within a room one message follows the answer (200 or not) to the one before, so the order in which a room's messages
were said is the order in which they were taken.
"""

import asyncio
import dataclasses
import itertools
import time
from collections.abc import Collection, Iterator

from penstock.channels.testing import webhook_sender, webhook_simulator


@dataclasses.dataclass(frozen=True, slots=True)
class Said:
    """One message: what became of its webhook, and when (performance counter) it was said and answered."""

    room: str
    text: str
    posted: webhook_sender.Posted
    at_s: float
    taken_s: float

    @property
    def taken(self) -> bool:
        """Whether Penstock took it upon itself: answered 2xx."""
        return self.posted.ok


def answer(text: str) -> str:
    """What the echo app, and every other app of these tests, says to a text."""
    return f"You said: {text}"


class Talk:
    """The rooms of one platform. `name` begins every text, so that talks can be told apart in logs and databases."""

    def __init__(self, platform: webhook_simulator.WebhookSimulator, *, name: str = "message", rooms: int = 20) -> None:
        self.platform, self.name = platform, name
        self.rooms = [f"room-{number}" for number in range(rooms)]
        self.said: list[Said] = []
        self._numbers = itertools.count()
        self._answered: set[str] = set()
        self._looked_at = 0

    async def say(self, count: int, *, pause_s: float = 0.0) -> list[Said]:
        """Say that many messages, in all rooms side by side; `pause_s` follows each. What became of each."""
        begun = len(self.said)
        left = itertools.repeat(None, count)
        await asyncio.gather(*(self._say(room, left, pause_s) for room in self.rooms))
        return self.said[begun:]

    async def go_on(self, enough: asyncio.Event, *, pause_s: float) -> None:
        """Say one message after the other in each room until it is enough; a message under way is waited for."""
        left = iter(enough.is_set, True)
        await asyncio.gather(*(self._say(room, left, pause_s) for room in self.rooms))

    async def _say(self, room: str, left: Iterator[object], pause_s: float) -> None:
        for _ in left:
            await self.tell(room, f"{self.name} {next(self._numbers)}")
            await asyncio.sleep(pause_s)

    async def tell(self, room: str, text: str) -> Said:
        """Say these very words in one room."""
        begun = time.perf_counter()
        posted = await self.platform.say(room, text)
        said = Said(room, text, posted, begun, time.perf_counter())
        self.said.append(said)
        return said

    @property
    def unanswered(self) -> list[str]:
        """Texts that were taken and have no answer yet."""
        arrivals = self.platform.arrivals
        self._answered.update(each.command.text for each in arrivals[self._looked_at :] if each.taken)
        self._looked_at = len(arrivals)
        return [said.text for said in self.said if said.taken and answer(said.text) not in self._answered]

    async def answered(self, *, but: Collection[str] = (), timeout_s: float = 60.0) -> None:
        """Wait until everything that was taken has its answer, `but` for some. Fails naming some that have none."""
        missing = {answer(said.text) for said in self.said if said.taken and said.text not in but}
        looked_at = 0

        def complete() -> bool:
            nonlocal looked_at
            arrivals = self.platform.arrivals[looked_at:]
            looked_at += len(arrivals)
            missing.difference_update(each.command.text for each in arrivals if each.taken)
            return not missing

        try:
            await self.platform.until(complete, timeout_s=timeout_s)
        except TimeoutError:
            some = sorted(missing)[:3]
            raise AssertionError(f"{len(missing)} answers never came, {some} among them") from None

    async def settled(self, *, quiet_s: float) -> None:
        """Wait until everything taken has its answer, or until nothing has come for `quiet_s`."""
        changed_s, seen = time.monotonic(), len(self.platform.arrivals)
        while self.unanswered and time.monotonic() < changed_s + quiet_s:
            if len(self.platform.arrivals) > seen:
                changed_s, seen = time.monotonic(), len(self.platform.arrivals)
            await asyncio.sleep(0.1)
