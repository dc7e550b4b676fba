"""Many numbered messages through a whole installation, and a count of what came back."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Sequence

from penstock.channels.testing import webhook_sender, webhook_simulator
from tests.e2e import installation as installations
from tests.soak.talk import answer

ROOMS = 20


class Platform(webhook_simulator.WebhookSimulator):
    """The simulated platform, which remembers where it posts to."""

    webhook_url = ""

    def connect(self, webhook_url: str) -> None:
        """Post to this account's URL from now on."""
        self.webhook_url = webhook_url
        super().connect(webhook_url)


@contextlib.asynccontextmanager
async def account(
    installation: installations.Installation, tenant: str, *, patience_s: float = 60.0, run: str = ""
) -> AsyncGenerator[Platform]:
    """A tenant with one account on a simulated platform, which posts again what gets no answer, 429 or 5xx.

    `run` marks the platform's ids; two of the same run give the same ids.
    """
    await installation.cli("tenant", "create", tenant)
    secret = webhook_sender.fresh_secret()
    async with Platform([secret], patience_s=patience_s, run=run) as simulator:
        made = await installation.cli("account", "create", "shop", "-t", tenant, "--set", f"url={simulator.url}")
        simulator.use_secrets([made["secret"]])
        simulator.connect(made["webhook_url"])
        yield simulator


async def say_all(
    simulator: webhook_simulator.WebhookSimulator, texts: Sequence[str], *, pause_s: float = 0.0
) -> dict[str, webhook_simulator.Posted]:
    """Post texts over some rooms, in order within each, side by side; what became of each. `pause_s` follows each."""

    async def one(room: int) -> list[tuple[str, webhook_simulator.Posted]]:
        posted: list[tuple[str, webhook_simulator.Posted]] = []
        for text in texts[room::ROOMS]:
            posted.append((text, await simulator.say(f"room-{room}", text)))
            await asyncio.sleep(pause_s)
        return posted

    return dict(each for room in await asyncio.gather(*map(one, range(ROOMS))) for each in room)


def answers(simulator: webhook_simulator.WebhookSimulator) -> Counter[str]:
    """How often each answer was acted on by the platform."""
    return Counter(a.command.text for a in simulator.arrivals if a.taken and not a.duplicate)


async def all_answered(
    simulator: webhook_simulator.WebhookSimulator, texts: Sequence[str], *, timeout_s: float = 45.0
) -> None:
    """Wait until every text has its answer. Fails naming some that have none."""
    missing, looked_at = {answer(text) for text in texts}, 0

    def complete() -> bool:
        nonlocal looked_at
        arrivals = simulator.arrivals[looked_at:]
        looked_at += len(arrivals)
        missing.difference_update(a.command.text for a in arrivals if a.taken)
        return not missing

    try:
        await simulator.until(complete, timeout_s=timeout_s)
    except TimeoutError:
        some = sorted(missing)[:3]
        raise AssertionError(f"{len(missing)} of {len(texts)} answers never came, {some} among them") from None


def out_of_order(simulator: webhook_simulator.WebhookSimulator, texts: Sequence[str]) -> list[str]:
    """The rooms in which the answers did not come in the order in which the texts were said."""
    wrong: list[str] = []
    for room in range(ROOMS):
        said = [arrival.command.text for arrival in simulator.arrivals_in(f"room-{room}")]
        if list(dict.fromkeys(said)) != [answer(text) for text in texts[room::ROOMS]]:
            wrong.append(f"room-{room}: {said}")
    return wrong
