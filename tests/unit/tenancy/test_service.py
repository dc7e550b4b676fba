"""Who may act is remembered for a moment: changes made here are seen at once, others' within the moment."""

import asyncio
import dataclasses
from datetime import UTC, datetime

import pytest

from penstock.base import clock, errors, ids
from penstock.tenancy import model, service

ACME, GLOBEX = ids.TenantId("acme"), ids.TenantId("globex")


class FakeTenants:
    """Rows in memory, and how often they were looked for."""

    def __init__(self) -> None:
        self.rows: dict[str, model.Tenant] = {}
        self.looked = 0

    async def insert(self, tenant: ids.TenantId, title: str) -> model.Tenant | None:
        if tenant in self.rows:
            return None
        self.rows[tenant] = model.Tenant(tenant, title, "active", datetime(2026, 1, 1, tzinfo=UTC))
        return self.rows[tenant]

    async def find(self, tenant: ids.TenantId) -> model.Tenant | None:
        self.looked += 1
        return self.rows.get(tenant)

    async def all(self) -> list[model.Tenant]:
        return [self.rows[tenant] for tenant in sorted(self.rows)]

    async def set_state(self, tenant: ids.TenantId, state: str) -> model.Tenant | None:
        if tenant not in self.rows:
            return None
        self.rows[tenant] = dataclasses.replace(self.rows[tenant], state=state)
        return self.rows[tenant]


@pytest.fixture
def tenants() -> FakeTenants:
    return FakeTenants()


@pytest.fixture
def time() -> clock.ManualClock:
    return clock.ManualClock()


@pytest.fixture
def tenancy(tenants: FakeTenants, time: clock.ManualClock) -> service.Tenancy:
    return service.Tenancy(tenants, monotonic=time.monotonic)


async def refusal(work: "asyncio.Future[None]") -> tuple[str, int, str]:
    with pytest.raises(errors.Rejected) as refused:
        await work
    return refused.value.code, refused.value.status, refused.value.field


async def test_a_tenant_without_a_title_is_called_by_its_slug(tenancy: service.Tenancy) -> None:
    assert (await tenancy.create("acme")).title == "acme"
    assert (await tenancy.create("globex", "Globex Corporation")).title == "Globex Corporation"
    assert [tenant.id for tenant in await tenancy.list()] == ["acme", "globex"]
    assert (await tenancy.get("acme")).state == "active"


async def test_the_same_slug_again_is_a_conflict(tenancy: service.Tenancy) -> None:
    await tenancy.create("acme")
    assert await refusal(tenancy.create("acme", "Another")) == ("tenant_exists", 409, "tenant")


@pytest.mark.parametrize(
    "name", ["", "Acme", "a.b", "*", ">", "../..", "a_b", "a--b", "-a", "ä", "a b", "a" * 41, "a\n"]
)
async def test_what_is_no_slug_is_refused_wherever_a_tenant_is_named(tenancy: service.Tenancy, name: str) -> None:
    for work in (tenancy.create(name), tenancy.get(name), tenancy.suspend(name), tenancy.resume(name)):
        assert await refusal(work) == ("bad_slug", 400, "tenant")


async def test_nobody_is_missing_by_name(tenancy: service.Tenancy) -> None:
    for work in (tenancy.get("acme"), tenancy.suspend("acme"), tenancy.resume("acme"), tenancy.require_active(ACME)):
        assert await refusal(work) == ("no_tenant", 404, "tenant")


async def test_a_suspension_and_its_end_hold_here_at_once(tenancy: service.Tenancy) -> None:
    await tenancy.create("acme")
    await tenancy.require_active(ACME)
    await tenancy.suspend("acme")
    assert await refusal(tenancy.require_active(ACME)) == ("tenant_suspended", 403, "tenant")
    await tenancy.resume("acme")
    await tenancy.require_active(ACME)


async def test_one_tenants_suspension_is_not_anothers(tenancy: service.Tenancy) -> None:
    await tenancy.create("acme")
    await tenancy.create("globex")
    await tenancy.suspend("acme")
    await tenancy.require_active(GLOBEX)
    assert (await refusal(tenancy.require_active(ACME)))[0] == "tenant_suspended"


async def test_who_may_act_is_asked_once_a_moment(
    tenancy: service.Tenancy, tenants: FakeTenants, time: clock.ManualClock
) -> None:
    await tenancy.create("acme")
    for _ in range(10):
        await tenancy.require_active(ACME)
    assert tenants.looked == 1
    await tenants.set_state(ACME, "suspended")  # by another process
    await time.advance(service.CACHE_S - 0.1)
    await tenancy.require_active(ACME)
    await time.advance(0.2)
    assert (await refusal(tenancy.require_active(ACME)))[0] == "tenant_suspended"
    assert tenants.looked == 2


async def test_a_tenant_that_was_missing_is_there_as_soon_as_it_is_made(tenancy: service.Tenancy) -> None:
    assert (await refusal(tenancy.require_active(ACME)))[0] == "no_tenant"
    await tenancy.create("acme")
    await tenancy.require_active(ACME)


async def test_a_tenant_made_by_another_process_is_soon_seen(
    tenancy: service.Tenancy, tenants: FakeTenants, time: clock.ManualClock
) -> None:
    assert (await refusal(tenancy.require_active(ACME)))[0] == "no_tenant"
    await tenants.insert(ACME, "acme")
    await time.advance(service.MISSING_S + 0.1)
    await tenancy.require_active(ACME)


async def test_a_change_is_not_undone_by_an_older_answer(tenancy: service.Tenancy, tenants: FakeTenants) -> None:
    """A look that was on its way when the tenant was suspended must not be remembered."""
    await tenancy.create("acme")
    begun, go_on = asyncio.Event(), asyncio.Event()
    found = tenants.find

    async def slow(tenant: ids.TenantId) -> model.Tenant | None:
        answer = await found(tenant)
        begun.set()
        await go_on.wait()
        return answer

    tenants.find = slow
    looking = asyncio.create_task(tenancy.require_active(ACME))
    await begun.wait()
    await tenancy.suspend("acme")
    go_on.set()
    await looking  # answered as things were when it asked
    assert (await refusal(tenancy.require_active(ACME)))[0] == "tenant_suspended"


async def test_what_is_remembered_is_bounded(tenancy: service.Tenancy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "CACHED", 10)
    for number in range(100):
        assert (await refusal(tenancy.require_active(ids.TenantId(f"t{number}"))))[0] == "no_tenant"
        assert len(tenancy._states) <= 10


@pytest.mark.parametrize("everything", [False, True])
async def test_what_another_process_told_of_is_asked_again(
    tenancy: service.Tenancy, tenants: FakeTenants, everything: bool
) -> None:
    for tenant in (ACME, GLOBEX):
        await tenancy.create(tenant)
        await tenancy.require_active(tenant)
    await tenants.set_state(ACME, "suspended")
    await tenancy.require_active(ACME)
    looked = tenants.looked
    if everything:
        tenancy.forget_all()
    else:
        tenancy.forget(ACME)
    assert await refusal(tenancy.require_active(ACME)) == ("tenant_suspended", 403, "tenant")
    await tenancy.require_active(GLOBEX)
    assert tenants.looked == looked + 1 + everything
