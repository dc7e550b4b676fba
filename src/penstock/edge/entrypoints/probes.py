"""`/health`, `/ready` and `/metrics`, alike on every role.

Healthy: the process can answer. Ready: it should be sent work, which is no longer so while it drains.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final

from penstock.base import errors, telemetry

PATHS: Final = ("/health", "/ready", "/metrics")

Check = Callable[[], Awaitable[str]]
"""Answers "" when fine, else one sentence saying what is missing."""


class Probes:
    """ASGI application of the three paths. `checks` by name decide readiness."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
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
        """200 or 503, and what each check found."""
        found = {name: await check() for name, check in self._checks.items()}
        if self.draining:
            found["draining"] = "this process is stopping"
        missing = {name: text for name, text in found.items() if text}
        if missing:
            return 503, {"status": "not ready", "missing": missing}
        return 200, {"status": "ready"}


async def _answer(send: Any, status: int, content_type: bytes, body: bytes) -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
