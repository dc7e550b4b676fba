"""`/health`, `/ready` and `/metrics`, alike on every role.

Healthy: the process can answer. Ready: it should be sent work, which is no longer so while it drains. With
`?tenant=NAME`, ready means: this process is, and that tenant may be served now.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final

from penstock.base import errors, ids, telemetry

PATHS: Final = ("/health", "/ready", "/metrics")

Check = Callable[[], Awaitable[str]]
"""Answers "" when fine, else one sentence saying what is missing."""

RequireActive = Callable[[ids.TenantId], Awaitable[None]]
"""Raises Rejected: 404 for a tenant that is not there, 403 for one that may not act."""

_QUERY: Final = re.compile(r"(?:tenant=([A-Za-z0-9-]{1,64}))?")

FRESH_S: Final = 0.25
"""How long what was found out about readiness is told again, so that asking often costs no more than asking seldom."""

CHECK_S: Final = 5.0
"""How long one check may take; one that takes longer has found something missing."""


class Probes:
    """ASGI application of the three paths. `checks` by name decide readiness; everybody who asks shares one look.

    Without `require_active` nobody here knows tenants, and asking for one is refused.
    """

    def __init__(self, checks: Mapping[str, Check], require_active: RequireActive | None = None) -> None:
        self._checks, self._require_active = checks, require_active
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
        if scope["path"] == "/health":
            status, report = 200, {"status": "ok"}
        else:
            status, report = await self.readiness(scope.get("query_string", b"").decode("latin-1"))
        await _answer(send, status, b"application/json", json.dumps(report).encode())

    async def readiness(self, query: str = "") -> tuple[int, dict[str, Any]]:
        """200 or 503, and what each check found at most `FRESH_S` ago.

        For a tenant also 503 while it is suspended. Raises Rejected: 400 for another query, 404 `no_tenant`.
        """
        asked = _QUERY.fullmatch(query)
        if asked is None or (asked[1] and self._require_active is None):
            raise errors.Rejected("bad_query", "the query is tenant=NAME where tenants are known", field="tenant")
        tenant = ids.tenant_id(asked[1]) if asked[1] else None
        missing = await self._missing()
        if tenant is not None and self._require_active is not None and not missing:
            missing = await _missing_of(tenant, self._require_active)
        about = {"tenant": tenant} if tenant else {}
        if missing:
            return 503, {"status": "not ready", **about, "missing": missing}
        return 200, {"status": "ready", **about}

    async def _missing(self) -> dict[str, str]:
        """What this process lacks, by check."""
        loop = asyncio.get_running_loop()
        if self._look is None or (self._look.done() and loop.time() >= self._stale_s):
            self._look = loop.create_task(self._found(), name="readiness")
        # Shielded: who came first may leave, the others still want to know.
        missing = dict(await asyncio.shield(self._look))
        if self.draining:
            missing["draining"] = "this process is stopping"
        return missing

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


async def _missing_of(tenant: ids.TenantId, require_active: RequireActive) -> dict[str, str]:
    """Why this tenant cannot be served by a process that serves others. Raises Rejected for one that is not there."""
    try:
        async with asyncio.timeout(CHECK_S):
            await require_active(tenant)
    except TimeoutError:
        return {"tenant": f"no answer within {CHECK_S:g} s"}
    except errors.PenstockError as error:
        if isinstance(error, errors.Rejected) and error.status == 404:
            raise
        return {"tenant": error.detail}
    return {}


async def _answer(send: Any, status: int, content_type: bytes, body: bytes) -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
