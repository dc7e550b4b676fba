"""What stops forgetting for one tenant stops it for nobody else."""

import asyncio
import time

from penstock.base import errors, ids
from penstock.state import retention

TENANTS = [ids.tenant_id(name) for name in ("acme", "globex", "initech")]


class Kept:
    """A kind of data of which one step forgets three rows, except of one tenant, where Postgres is too slow."""

    keep_days = 30

    def __init__(self, kind, slow=""):
        self.kind, self.slow, self.forgotten_of = kind, slow, []

    async def forget(self, tenant):
        if tenant == self.slow:
            raise errors.Unavailable("database_timeout", "a statement took too long")
        self.forgotten_of.append(tenant)
        yield 3


async def swept(kinds, tenants):
    """One round."""
    running, deadline = retention.Retention(kinds, tenants, first_s=0), time.monotonic() + 30
    await running.start()
    while not running.rounds:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    await running.stop()


def failed(kind, code):
    return retention.failures.labels(kind, code)._value.get()


async def test_one_tenants_failure_is_counted_and_all_others_are_swept():
    slow, other = Kept("slow", slow="acme"), Kept("other")
    before = failed("slow", "database_timeout")

    async def tenants():
        return TENANTS

    await swept([slow, other], tenants)
    assert (slow.forgotten_of, other.forgotten_of) == (TENANTS[1:], TENANTS)
    assert failed("slow", "database_timeout") == before + 1


async def test_tenants_that_nobody_can_list_are_one_failure_a_kind():
    kinds = [Kept("one"), Kept("two")]
    before = [failed(kind.kind, "database_away") for kind in kinds]

    async def tenants():
        raise errors.Unavailable("database_away", "no Postgres answers")

    await swept(kinds, tenants)
    assert [kind.forgotten_of for kind in kinds] == [[], []]
    assert [failed(kind.kind, "database_away") for kind in kinds] == [count + 1 for count in before]
