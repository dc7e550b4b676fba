"""Many numbered messages through a whole installation, and a count of what came back."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Sequence

from penstock.channels.testing import webhook_sender, webhook_simulator
from tests.e2e import installation as installations


@contextlib.asynccontextmanager
async def account(
    installation: installations.Installation, tenant: str, *, patience_s: float = 60.0
) -> AsyncGenerator[webhook_simulator.WebhookSimulator]:
    """A tenant with one account on a simulated platform, which posts again what gets no answer, 429 or 5xx."""
    await installation.cli("tenant", "create", tenant)
    async with webhook_simulator.WebhookSimulator([webhook_sender.fresh_secret()], patience_s=patience_s) as draft:
        made = await installation.cli("account", "create", "shop", "-t", tenant, "--set", f"url={draft.url}")
        draft.use_secrets([made["secret"]])
        draft.connect(made["webhook_url"])
        yield draft


async def say_all(
    simulator: webhook_simulator.WebhookSimulator, texts: Sequence[str], *, conversations: int = 20
) -> list[webhook_simulator.Posted]:
    """Post numbered texts over some conversations, in order within each; conversations run side by side."""

    async def one(room: int) -> list[webhook_simulator.Posted]:
        return [await simulator.say(f"room-{room}", text) for text in texts[room::conversations]]

    return [posted for room in await asyncio.gather(*map(one, range(conversations))) for posted in room]


def answers(simulator: webhook_simulator.WebhookSimulator) -> Counter[str]:
    """How often each answer was taken by the platform."""
    return Counter(a.command.text for a in simulator.arrivals if a.taken and not a.duplicate)


async def all_answered(
    simulator: webhook_simulator.WebhookSimulator, texts: Sequence[str], *, timeout_s: float = 45.0
) -> None:
    """Wait until every text has its answer. Fails naming some that have none."""
    wanted = {f"You said: {text}" for text in texts}
    heard: set[str] = set()

    def complete() -> bool:
        heard.update(a.command.text for a in simulator.arrivals[len(heard) and -50 :])
        return wanted <= heard or wanted <= set(answers(simulator))

    try:
        await simulator.until(complete, timeout_s=timeout_s)
    except TimeoutError:
        missing = sorted(wanted - set(answers(simulator)))
        raise AssertionError(f"{len(missing)} of {len(wanted)} answers never came, {missing[:3]} among them") from None


def in_order(simulator: webhook_simulator.WebhookSimulator, texts: Sequence[str], *, conversations: int = 20) -> bool:
    """Whether the first answers of each conversation came in the order in which its texts were said."""
    for room in range(conversations):
        said = [a.command.text for a in simulator.arrivals_in(f"room-{room}")]
        if list(dict.fromkeys(said)) != [f"You said: {text}" for text in texts[room::conversations]]:
            return False
    return True
