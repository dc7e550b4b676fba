"""Platforms that give the same ids as another of their kind: what the twins talk on, and what nobody there knows.

The simulators number everything from one within a run; here, every run is the same.
"""

import copy
import dataclasses
import json
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from penstock.channels.testing import (
    cliq_platform,
    cliq_simulator,
    simulator,
    slack_simulator,
    slack_workspace,
    telegram_platform,
    telegram_simulator,
    webhook_simulator,
)

UNKNOWN = "twin.unknown"
PATIENCE_S = 60.0
NOW_MS = int(time.time() * 1000)
MOMENT_US = 1_700_000_000_000_000


def _webhook() -> simulator.Simulator:
    return webhook_simulator.WebhookSimulator(run="twin", patience_s=PATIENCE_S)


def _slack() -> simulator.Simulator:
    # It would hear of its own calls at any moment, and number them among the others.
    made = slack_simulator.SlackSimulator(patience_s=PATIENCE_S, echoes=False)
    made.workspace = slack_workspace.SlackWorkspace("twin", lambda: MOMENT_US)
    return made


def _telegram() -> simulator.Simulator:
    made = telegram_simulator.TelegramSimulator(patience_s=PATIENCE_S)
    made.platform = telegram_platform.TelegramPlatform(7)
    return made


def _cliq() -> simulator.Simulator:
    made = cliq_simulator.CliqSimulator(patience_s=PATIENCE_S)
    made.platform = cliq_platform.CliqPlatform(7, lambda: NOW_MS)
    return made


async def _unknown_webhook(platform: Any) -> int:
    return (await platform.post_event({"type": UNKNOWN, "id": "twin-unknown", "data": {}})).status


async def _unknown_slack(platform: Any) -> int:
    return (await platform.post_event({"type": UNKNOWN, "event_ts": platform.workspace.next_ts()})).status


async def _unknown_telegram(platform: Any) -> int:
    return (await platform.post_update(twin_unknown={"words": UNKNOWN})).status


async def _unknown_cliq(platform: Any) -> int:
    frame = {"name": "Bot", "unique_name": platform.platform.bot, "handler": {"type": UNKNOWN}, "type": "bot"}
    return await platform.deliver(json.dumps({**frame, "timestamp": NOW_MS, "params": {}}).encode())


@dataclasses.dataclass(frozen=True)
class Platform:
    """How a channel's platform is made so that two of them give the same ids, and posts what nobody knows."""

    start: Callable[[], simulator.Simulator]
    post_unknown: Callable[[Any], Coroutine[Any, Any, int]]


PLATFORMS: Mapping[str, Platform] = {
    "webhook": Platform(_webhook, _unknown_webhook),
    "slack": Platform(_slack, _unknown_slack),
    "telegram": Platform(_telegram, _unknown_telegram),
    "cliq": Platform(_cliq, _unknown_cliq),
}


def copy_of(platform: simulator.Simulator, webhook_url: str) -> Any:
    """The same platform, with the same secrets, posting elsewhere."""
    made: Any = copy.copy(platform)
    made.patience_s = 0.0
    made.connect(webhook_url)
    return made
