"""How simulated platforms post to Penstock: to the URL of one account, again while there is patience.

The half of a simulator that talks to Penstock inherits this, and makes the headers of every attempt itself.
"""

import asyncio
import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Final

from penstock.channels.testing import webhook_client

_RETRY_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Platforms wait for seconds and minutes; nobody here has that long."""


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What came back for the last of so many attempts, `latency_s` after the first began; status 0: nothing."""

    status: int
    body: bytes
    latency_s: float
    attempts: int


def taken(status: int) -> bool:
    """Whether Penstock took it."""
    return 200 <= status < 300


class Posting:
    """Posts to the URL of an account. `patience_s`: for how long it posts again; 0: once only.

    `insists`: it waits as long as Retry-After asks and goes on to the end of its patience; otherwise it gives up after
    a few attempts, whatever it is asked.
    """

    def __init__(self, patience_s: float, *, insists: bool) -> None:
        self.patience_s = patience_s
        self._insists = insists
        self._client: webhook_client.WebhookClient | None = None

    def connect(self, webhook_url: str) -> None:
        """Post to this account's URL from now on."""
        self._client = webhook_client.WebhookClient(webhook_url)

    async def disconnect(self) -> None:
        """Hang up."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    @property
    def connected(self) -> bool:
        """Whether there is a URL to post to."""
        return self._client is not None

    async def _post(
        self, headers: Callable[[int], Mapping[str, str]], body: bytes, *, settled: Callable[[int], bool] = taken
    ) -> Answer:
        """Post a body, with `headers` of the attempts so far, until a status is `settled` or patience ends."""
        client = self._client
        if client is None:
            raise RuntimeError("tell the simulator where to post: simulator.connect(url)")
        started_s, attempts = time.perf_counter(), 0
        while True:
            try:
                response = await client.post(headers(attempts), body)
                status, answer, asked = response.status, response.body, response.headers.get("retry-after", "")
            except OSError:  # ConnectionError and TimeoutError among them: there was no answer
                status, answer, asked = 0, b"", ""
            latency_s = time.perf_counter() - started_s
            wait_s = self._wait_s(attempts, float(asked) if asked.isdigit() else 0.0, latency_s)
            attempts += 1
            if settled(status) or wait_s is None:
                return Answer(status, answer, latency_s, attempts)
            await asyncio.sleep(wait_s)

    def _wait_s(self, attempts: int, asked_s: float, spent_s: float) -> float | None:
        """How long to wait after one more than so many attempts; None: no longer."""
        if self._insists:
            wait_s = asked_s or _RETRY_S[min(attempts, len(_RETRY_S) - 1)]
            return wait_s if spent_s + wait_s <= self.patience_s else None
        in_time = attempts < len(_RETRY_S) and sum(_RETRY_S[: attempts + 1]) <= self.patience_s
        return _RETRY_S[attempts] if in_time else None
