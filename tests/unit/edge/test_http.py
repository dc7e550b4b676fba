"""The edge routes, bounds, and turns errors into problems without saying too much."""

import asyncio
import json
from typing import Any

import pytest

from penstock.base import errors
from penstock.edge.entrypoints import http, probes


class Caller:
    """Calls an ASGI application as a server would, and keeps its answer."""

    def __init__(self, application: http.Application) -> None:
        self._application = application

    async def __call__(self, path: str, *, method: str = "GET", headers: dict[str, str] | None = None) -> "Caller":
        scope = {
            "type": "http",
            "path": path,
            "method": method,
            "headers": [(n.lower().encode(), v.encode()) for n, v in (headers or {}).items()],
        }
        self.events: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(event: Any) -> None:
            self.events.append(event)

        await self._application(scope, receive, send)
        return self

    @property
    def status(self) -> int:
        return self.events[0]["status"]

    @property
    def headers(self) -> dict[str, str]:
        return {n.decode(): v.decode() for n, v in self.events[0]["headers"]}

    @property
    def json(self) -> Any:
        return json.loads(self.events[1]["body"])


def edge(
    error: Exception | None = None, *, limit: int = 10, checks: dict[str, probes.Check] | None = None
) -> http.Edge:
    async def application(_: Any, __: Any, send: Any) -> None:
        if error:
            raise error
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return http.Edge([http.Mount("/webhooks/", application)], probes.Probes(checks or {}), limit=limit)


@pytest.mark.parametrize(
    ("error", "status", "code", "retry_after"),
    [
        (errors.Rejected("bad_body", "body: must be JSON", field="body"), 400, "bad_body", None),
        (errors.Rejected("too_large", "over 1 MiB", status=413), 413, "too_large", None),
        (errors.Unavailable("database_busy", "no connection", after_s=1.2), 503, "database_busy", "2"),
        (errors.Unavailable("slow_down", "too fast", after_s=0, throttled=True), 429, "slow_down", "1"),
        (errors.Poisoned("undecodable", "not a message"), 422, "undecodable", None),
        (errors.Broken("bug", "the secret is swordfish"), 500, "internal", None),
        (RuntimeError("the secret is swordfish"), 500, "internal", None),
    ],
)
async def test_errors_become_problems(error: Exception, status: int, code: str, retry_after: str | None) -> None:
    answer = await Caller(edge(error))("/webhooks/x")
    assert (answer.status, answer.json["code"], answer.json["status"]) == (status, code, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers.get("retry-after") == retry_after
    assert "swordfish" not in json.dumps(answer.json)


async def test_the_request_id_is_echoed_when_harmless_and_made_when_not() -> None:
    caller = Caller(edge())
    assert (await caller("/webhooks/x", headers={"x-request-id": "r-1"})).headers["x-request-id"] == "r-1"
    made = (await caller("/webhooks/x", headers={"x-request-id": "a\r\nb: c"})).headers["x-request-id"]
    assert len(made) == 32


async def test_an_unknown_path_is_a_404_problem() -> None:
    answer = await Caller(edge())("/nothing")
    assert (answer.status, answer.json["code"]) == (404, "no_such_path")


async def test_a_wrong_method_names_the_right_one() -> None:
    answer = await Caller(edge(errors.WrongMethod("only read", allow=("GET", "HEAD"))))("/webhooks/x")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    assert (answer.json["code"], answer.json["hint"]) == ("method_not_allowed", "Use GET or HEAD.")


async def test_beyond_the_limit_the_answer_is_503_and_the_count_goes_down_again() -> None:
    release = asyncio.Event()

    async def slow(_: Any, __: Any, send: Any) -> None:
        await release.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})

    crowded = http.Edge([http.Mount("/webhooks/", slow)], probes.Probes({}), limit=1)
    first = asyncio.create_task(Caller(crowded)("/webhooks/x"))
    await asyncio.sleep(0)
    assert (await Caller(crowded)("/webhooks/x")).json["code"] == "overloaded"
    release.set()
    assert (await first).status == 204
    assert (await Caller(crowded)("/webhooks/x")).status == 204


async def test_an_error_after_the_answer_has_begun_cuts_the_connection() -> None:
    async def half(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise errors.Unavailable("gone", "the database went away")

    broken = http.Edge([http.Mount("/webhooks/", half)], probes.Probes({}), limit=1)
    with pytest.raises(errors.Unavailable):
        await Caller(broken)("/webhooks/x")


async def test_ready_says_what_is_missing_and_turns_off_while_draining() -> None:
    async def fine() -> str:
        return ""

    async def away() -> str:
        return "no server answers"

    probe = probes.Probes({"postgres": fine})
    application = http.Edge([], probe, limit=1)
    assert (await Caller(application)("/ready")).status == 200
    probe.draining = True
    answer = await Caller(application)("/ready")
    assert (answer.status, list(answer.json["missing"])) == (503, ["draining"])
    assert (await Caller(application)("/health")).status == 200
    answer = await Caller(edge(checks={"postgres": fine, "nats": away}))("/ready")
    assert answer.json["missing"] == {"nats": "no server answers"}


async def test_many_who_ask_whether_we_are_ready_share_one_look_and_later_ones_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks, release = 0, asyncio.Event()

    async def slow() -> str:
        nonlocal looks
        looks += 1
        await release.wait()
        return "" if looks == 1 else "gone"

    monkeypatch.setattr(probes, "FRESH_S", 0.05)
    application = edge(checks={"postgres": slow}, limit=1000)
    asking = [asyncio.create_task(Caller(application)("/ready")) for _ in range(100)]
    await asyncio.sleep(0)
    asking[0].cancel()
    release.set()
    assert {(await one).status for one in asking[1:]} == {200}
    assert looks == 1
    async with asyncio.timeout(5):
        while (await Caller(application)("/ready")).status == 200:
            await asyncio.sleep(0.01)
    assert looks == 2


async def test_a_check_that_does_not_answer_is_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def stalled() -> str:
        await asyncio.Event().wait()
        return ""

    monkeypatch.setattr(probes, "CHECK_S", 0.01)
    answer = await Caller(edge(checks={"postgres": stalled}))("/ready")
    assert (answer.status, list(answer.json["missing"])) == (503, ["postgres"])


async def test_metrics_are_exposed_and_probes_take_only_get() -> None:
    answer = await Caller(edge())("/metrics")
    assert b"penstock_http_in_flight" in answer.events[1]["body"]
    refused = await Caller(edge())("/metrics", method="POST")
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")
