"""The use cases of tenants."""

import time
from collections.abc import Callable
from typing import Final

from penstock.base import errors, ids
from penstock.tenancy import model, store

CACHE_S: Final = 30.0
MISSING_S: Final = 2.0
CACHED: Final = 10_000


class Tenancy:
    """Creates, finds and suspends tenants.

    What `require_active` answers may be up to 30 s old when another process changed it and this one could not hear it
    (`forget`, `forget_all`), 2 s for a tenant that was not there.
    """

    def __init__(self, tenants: store.TenantStore, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._tenants, self._monotonic = tenants, monotonic
        self._states: dict[ids.TenantId, tuple[float, str]] = {}
        self._changes = 0

    async def create(self, tenant: str, title: str = "") -> model.Tenant:
        """Make a tenant. Raises Rejected for a bad slug or title, and `tenant_exists` (409)."""
        slug = ids.tenant_id(tenant)
        made = await self._tenants.insert(slug, model.title(title or tenant))
        if made is None:
            raise errors.Rejected("tenant_exists", f"tenant '{slug}' exists already", status=409, field="tenant")
        self.forget(slug)
        return made

    async def get(self, tenant: str) -> model.Tenant:
        """One tenant. Raises Rejected `no_tenant` (404)."""
        found = await self._tenants.find(ids.tenant_id(tenant))
        if found is None:
            raise _missing(tenant)
        return found

    async def list(self) -> list[model.Tenant]:
        """Every tenant, by id."""
        return await self._tenants.all()

    async def suspend(self, tenant: str) -> model.Tenant:
        """Let nothing in or out for this tenant; nothing is lost. Raises Rejected `no_tenant` (404)."""
        return await self._set_state(tenant, "suspended")

    async def resume(self, tenant: str) -> model.Tenant:
        """End a suspension. Raises Rejected `no_tenant` (404)."""
        return await self._set_state(tenant, "active")

    async def _set_state(self, tenant: str, state: str) -> model.Tenant:
        slug = ids.tenant_id(tenant)
        changed = await self._tenants.set_state(slug, state)
        if changed is None:
            raise _missing(tenant)
        self.forget(slug)
        return changed

    def forget(self, tenant: str) -> None:
        """Nothing older than this moment may be remembered of a tenant, not even what is on its way."""
        self._states.pop(ids.TenantId(tenant), None)
        self._changes += 1

    def forget_all(self) -> None:
        """As `forget`, for every tenant."""
        self._states.clear()
        self._changes += 1

    async def require_active(self, tenant: ids.TenantId) -> None:
        """Raise Rejected `no_tenant` (404) or `tenant_suspended` (403) unless the tenant may act."""
        state = await self._state(tenant)
        if state == "":
            raise _missing(tenant)
        if state != "active":
            raise errors.Rejected("tenant_suspended", f"tenant '{tenant}' is suspended", status=403, field="tenant")

    async def _state(self, tenant: ids.TenantId) -> str:
        now, changes = self._monotonic(), self._changes
        cached = self._states.get(tenant)
        if cached and cached[0] > now:
            return cached[1]
        found = await self._tenants.find(tenant)
        state = found.state if found else ""
        if changes == self._changes:
            if len(self._states) >= CACHED:
                self._states.clear()
            self._states[tenant] = (now + (CACHE_S if found else MISSING_S), state)
        return state


def _missing(tenant: str) -> errors.Rejected:
    return errors.Rejected(
        "no_tenant",
        f"there is no tenant '{ids.suggest_slug(tenant)}'",
        hint="List them with 'penstock tenant ls', make one with 'penstock tenant create'.",
        status=404,
        field="tenant",
    )
