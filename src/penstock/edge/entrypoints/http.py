"""The one ASGI application outside: mounts, problems, probes, request ids, and a bound on what is in flight."""

import asyncio
import dataclasses
from collections.abc import Sequence

from penstock.base import context as contexts
from penstock.base import errors, ids, telemetry
from penstock.edge import model
from penstock.edge.entrypoints import probes
from penstock.edge.entrypoints.exchange import Application, Event, Receive, Scope, Send

_log = telemetry.logger("edge.http")
_REQUEST_ID = contexts.HTTP_REQUEST.encode()

refused = telemetry.counter(
    "penstock_http_refused_total",
    labels=("status", "code"),
    meaning="Requests answered with a problem, by status and stable code.",
    remedy="401: secrets or clocks differ. 429, 503: overload or a server away. 500: report it with its log line.",
)
in_flight = telemetry.gauge(
    "penstock_http_in_flight",
    meaning="Requests being handled.",
    remedy="At its limit for long: something behind is slow (look at Postgres), or more processes are needed.",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Mount:
    """Requests whose path starts with `prefix` go to `application`, which raises PenstockError for what it refuses."""

    prefix: str
    application: Application


class Edge:
    """ASGI 3 application (https://asgi.readthedocs.io/en/latest/specs/www.html)."""

    def __init__(self, mounts: Sequence[Mount], probe: probes.Probes, *, limit: int) -> None:
        self._mounts = sorted(mounts, key=lambda mount: len(mount.prefix), reverse=True)
        self._probe = probe
        self._limit = limit
        self._running = 0
        in_flight.set_function(lambda: self._running)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one HTTP request; anything else is refused."""
        if scope["type"] != "http":
            raise errors.Broken("not_http", f"the edge serves http, not {scope['type']}")
        exchange = _Exchange(send, _request_id(scope))
        self._running += 1
        try:
            if self._running > self._limit:
                raise errors.Unavailable("overloaded", "too many requests at once", after_s=1.0)
            await self._application(scope["path"])(scope, receive, exchange.send)
        except asyncio.CancelledError:
            _log.warning("request cut short: it took longer than draining may", request_id=exchange.id)
            raise
        except Exception as error:  # noqa: BLE001 - one of the three places where errors become reactions
            await exchange.fail(error)
        finally:
            self._running -= 1

    def _application(self, path: str) -> Application:
        for mount in self._mounts:
            if path.startswith(mount.prefix):
                return mount.application
        if path in probes.PATHS:
            return self._probe
        raise errors.Rejected("no_such_path", "there is nothing here", status=404)


class _Exchange:
    """One request's answer: adds the request id, and remembers whether the answer has begun."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self.id, self._begun = send, request_id, False

    async def send(self, event: Event) -> None:
        if event["type"] == "http.response.start":
            self._begun = True
            event["headers"] = [*event.get("headers", ()), (_REQUEST_ID, self.id.encode())]
        await self._send(event)

    async def fail(self, error: Exception) -> None:
        problem = model.problem_of(error)
        refused.labels(problem.status, problem.code).inc()
        if problem.status >= 500 and not isinstance(error, errors.Unavailable):
            _log.error("request failed", request_id=self.id, exc_info=error)
        else:
            # Strangers can make as many of these as they like, so nobody reads them unless they ask for it.
            _log.debug("request refused", request_id=self.id, status=problem.status, code=problem.code)
        if self._begun:
            raise error  # too late for a problem: the server cuts the connection, which the client notices
        body = problem.body(self.id)
        headers = [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(body))]
        await self.send(
            {"type": "http.response.start", "status": problem.status, "headers": [*headers, *problem.headers]}
        )
        await self.send({"type": "http.response.body", "body": body})


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == _REQUEST_ID:
            return contexts.normal_request(value.decode("latin-1")) or ids.new_id()
    return ids.new_id()
