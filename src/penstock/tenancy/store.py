"""The room's own table."""

from penstock.base import ids
from penstock.database import changes, pool
from penstock.tenancy import model


class TenantStore:
    """Rows of `tenancy.tenant`."""

    def __init__(self, database: pool.Database) -> None:
        self._database = database

    async def insert(self, tenant: ids.TenantId, title: str) -> model.Tenant | None:
        """Write a new tenant; None when the id is taken."""
        async with self._database.transaction("tenancy", []) as transaction:
            row = await transaction.fetch_one(
                "insert into tenancy.tenant (id, title) values (%s, %s) on conflict do nothing "
                "returning id, title, state, created_at",
                (tenant, title),
            )
            if row:
                changes.tell(transaction, changes.TENANT, tenant)
        return model.Tenant(*row) if row else None

    async def find(self, tenant: ids.TenantId) -> model.Tenant | None:
        """One tenant, or None."""
        async with self._database.transaction("tenancy", []) as transaction:
            row = await transaction.fetch_one(
                "select id, title, state, created_at from tenancy.tenant where id = %s", (tenant,)
            )
        return model.Tenant(*row) if row else None

    async def all(self) -> list[model.Tenant]:
        """Every tenant, by id."""
        async with self._database.transaction("tenancy", []) as transaction:
            rows = await transaction.fetch_all(
                "select id, title, state, created_at from tenancy.tenant order by id", ()
            )
        return [model.Tenant(*row) for row in rows]

    async def set_state(self, tenant: ids.TenantId, state: str) -> model.Tenant | None:
        """Change the state; None when there is no such tenant."""
        async with self._database.transaction("tenancy", []) as transaction:
            row = await transaction.fetch_one(
                "update tenancy.tenant set state = %s where id = %s returning id, title, state, created_at",
                (state, tenant),
            )
            if row:
                changes.tell(transaction, changes.TENANT, tenant)
        return model.Tenant(*row) if row else None
