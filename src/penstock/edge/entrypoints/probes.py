"""`/health`, `/ready` and `/metrics`, alike on every role.

Healthy: the process can answer. Ready: it should be sent work, which is no longer so while it drains.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final

from penstock.base import errors, telemetry

PATHS: Final = ("/health", "/ready", "/metrics")

Check = Callable[[], Awaitable[str]]
"""Answers "" when fine, else one sentence saying what is missing."""


FRESH_S: Final = 0.25
"""How long what was found out about readiness is told again, so that asking often costs no more than asking seldom."""

CHECK_S: Final = 5.0
"""How long one check may take; one that takes longer has found something missing."""


class Probes:
    """ASGI application of the three paths. `checks` by name decide readiness; everybody who asks shares one look."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._look: asyncio.Task[dict[str, str]] | None = None
        self._stale_s = 0.0
        self.draining = False

    async def __call__(self, scope: MutableMapping[str, Any], _receive: Any, send: Any) -> None:
        """Answer one GET or HEAD."""
        if scope["method"] not in {"GET", "HEAD"}:
            raise errors.WrongMethod("probes are read", allow=("GET", "HEAD"))
        if scope["path"] == "/metrics":
            await _answer(send, 200, telemetry.FORMAT.encode(), telemetry.exposition())
            return
        status, report = (200, {"status": "ok"}) if scope["path"] == "/health" else await self.readiness()
        await _answer(send, status, b"application/json", json.dumps(report).encode())

    async def readiness(self) -> tuple[int, dict[str, Any]]:
        """200 or 503, and what each check found at most `FRESH_S` ago."""
        loop = asyncio.get_running_loop()
        if self._look is None or (self._look.done() and loop.time() >= self._stale_s):
            self._look = loop.create_task(self._found(), name="readiness")
        # Shielded: who came first may leave, the others still want to know.
        missing = dict(await asyncio.shield(self._look))
        if self.draining:
            missing["draining"] = "this process is stopping"
        if missing:
            return 503, {"status": "not ready", "missing": missing}
        return 200, {"status": "ready"}

    async def _found(self) -> dict[str, str]:
        """What is missing, by check."""
        missing: dict[str, str] = {}
        try:
            for name, check in self._checks.items():
                try:
                    async with asyncio.timeout(CHECK_S):
                        text = await check()
                except TimeoutError:
                    text = f"no answer within {CHECK_S:g} s"
                if text:
                    missing[name] = text
        finally:
            self._stale_s = asyncio.get_running_loop().time() + FRESH_S
        return missing


async def _answer(send: Any, status: int, content_type: bytes, body: bytes) -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
