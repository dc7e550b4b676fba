"""Ready is said of a process, and of a tenant: unknown, suspended, served; and of nobody while it drains."""

import asyncio
import json

import pytest

from penstock.base import errors, ids
from penstock.edge.entrypoints import probes


class Tenants:
    """Tenants by what they are."""

    def __init__(self) -> None:
        self.states: dict[str, Exception | None] = {"acme": None}
        self.asked = 0

    async def require_active(self, tenant: ids.TenantId) -> None:
        self.asked += 1
        if tenant not in self.states:
            raise errors.Rejected("no_tenant", "there is no such tenant", status=404)
        if error := self.states[tenant]:
            raise error


async def ask(probe: probes.Probes, path: str, query: bytes = b"") -> tuple[int, dict]:
    sent = []

    async def send(event) -> None:
        sent.append(event)

    await probe({"type": "http", "method": "GET", "path": path, "query_string": query}, None, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


def made(missing: str = "", tenants: Tenants | None = None) -> probes.Probes:
    async def check() -> str:
        return missing

    return probes.Probes({"nats": check}, (tenants or Tenants()).require_active)


async def test_a_tenant_that_is_served_is_ready():
    assert await ask(made(), "/ready", b"tenant=acme") == (200, {"status": "ready", "tenant": "acme"})
    assert await ask(made(), "/ready") == (200, {"status": "ready"})


@pytest.mark.parametrize(
    "error",
    [
        errors.Rejected("tenant_suspended", "tenant 'acme' is suspended", status=403),
        errors.Unavailable("database_away", "Postgres is away"),
    ],
)
async def test_one_that_may_not_be_served_now_is_not(error):
    tenants = Tenants()
    tenants.states["acme"] = error
    status, told = await ask(made(tenants=tenants), "/ready", b"tenant=acme")
    assert (status, told["missing"]) == (503, {"tenant": error.detail})
    assert (await ask(made(tenants=tenants), "/ready"))[0] == 200


async def test_one_that_is_not_there_is_no_question_of_readiness():
    with pytest.raises(errors.Rejected) as refused:
        await ask(made(), "/ready", b"tenant=nobody")
    assert refused.value.status == 404


@pytest.mark.parametrize(
    "query", [b"tenant", b"tenant=", b"who=acme", b"tenant=a%00", b"tenant=acme&x=1", b"tenant=Acme"]
)
async def test_another_query_is_refused(query):
    with pytest.raises(errors.Rejected) as refused:
        await ask(made(), "/ready", query)
    assert refused.value.status == 400


async def test_a_process_without_tenants_says_so():
    with pytest.raises(errors.Rejected) as refused:
        await ask(probes.Probes({}), "/ready", b"tenant=acme")
    assert refused.value.status == 400


async def test_a_process_that_is_not_ready_serves_no_tenant_and_does_not_ask_for_any():
    tenants = Tenants()
    status, told = await ask(made("no nats-server answers", tenants), "/ready", b"tenant=acme")
    assert (status, told["missing"], tenants.asked) == (503, {"nats": "no nats-server answers"}, 0)
    draining = made(tenants=tenants)
    draining.draining = True
    status, told = await ask(draining, "/ready", b"tenant=acme")
    assert (status, list(told["missing"])) == (503, ["draining"])
    assert (await ask(draining, "/health"))[0] == 200


async def test_a_tenant_that_nobody_can_tell_about_in_time_is_not_ready(monkeypatch):
    monkeypatch.setattr(probes, "CHECK_S", 0.01)
    probe = probes.Probes({}, lambda _: asyncio.Event().wait())  # type: ignore[arg-type,return-value]
    status, told = await ask(probe, "/ready", b"tenant=acme")
    assert (status, list(told["missing"])) == (503, ["tenant"])
