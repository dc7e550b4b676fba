"""`POST /webhooks/{channel}/{account}`: the door that platforms knock at. A raw ASGI callable, because it is hot.

Only what must be known before a signature can be checked is decided here: path, method, account, size, speed. Errors
are raised; the edge writes them as problems.
"""

import dataclasses
import functools
from typing import Final

from penstock.base import clock as clocks
from penstock.base import errors, ids
from penstock.channels import errors as channel_errors
from penstock.channels import ports
from penstock.channels.entrypoints import requests
from penstock.channels.service import inbound

PREFIX: Final = "/webhooks/"

HELD_BYTES: Final = 64 << 20
"""Bytes of bodies that one process holds at once: many times what honest platforms need, and no more memory."""


@dataclasses.dataclass(frozen=True, slots=True)
class Bounds:
    """What one request may be: how large, how slow, and one of how many of its account at once."""

    body_bytes: int
    body_deadline_s: float
    at_once: int


class Webhooks:
    """ASGI application for everything under `/webhooks/`."""

    def __init__(self, service: inbound.Inbound, *, clock: clocks.Clock, bounds: Bounds) -> None:
        self._service, self._clock, self._bounds = service, clock, bounds
        self._held = requests.Held(max(HELD_BYTES, bounds.body_bytes))
        self._crowd = requests.Crowd(bounds.at_once)

    async def __call__(self, scope: requests.Scope, receive: requests.Receive, send: requests.Send) -> None:
        """Answer one request, after what it holds is stored."""
        try:
            channel, account = address(scope["path"])
            if scope["method"] != "POST":
                raise errors.WrongMethod("webhooks are posted", allow=("POST",))
            headers = requests.headers_of(scope)
        except errors.PenstockError as error:
            raise _counted(error) from None
        # Before the body: who does not even know an account's id shall not make us hold anything.
        caller = await self._service.caller(channel, account)
        answer = await self._of_account(caller, scope, headers, receive)
        start = {"type": "http.response.start", "status": answer.status, "headers": _headers(answer)}
        await send(start)
        await send({"type": "http.response.body", "body": answer.body})

    async def _of_account(
        self, caller: inbound.Caller, scope: requests.Scope, headers: dict[str, str], receive: requests.Receive
    ) -> ports.Answer:
        account, share = caller.account.id, self._held.share()
        try:
            self._crowd.enter(account)
        except errors.PenstockError as error:
            raise _counted(error) from None
        try:
            try:
                body = await requests.read_body(
                    receive,
                    headers,
                    limit_bytes=self._bounds.body_bytes,
                    deadline_s=self._bounds.body_deadline_s,
                    take=share.take,
                    whole=scope.get("penstock.whole"),
                )
            except errors.PenstockError as error:
                raise _counted(error) from None
            request = requests.request_of(scope, headers, body, self._clock.now())
            return await self._service.receive(caller, request)
        finally:
            share.free()
            self._crowd.leave(account)


def _headers(answer: ports.Answer) -> list[tuple[bytes, bytes]]:
    return [
        (b"content-type", answer.content_type.encode("latin-1")),
        (b"content-length", b"%d" % len(answer.body)),
    ]


def _counted(error: errors.PenstockError) -> errors.PenstockError:
    """Count what is refused before the service has seen it."""
    inbound.refused.labels("unread", error.code).inc()
    return error


@functools.lru_cache(maxsize=4096)
def address(path: str) -> tuple[str, str]:
    """Channel and account of a path. Raises Rejected `no_account` (404) for any other form."""
    parts = path.split("/")
    if len(parts) != 4 or parts[0] or parts[1] != "webhooks":
        raise channel_errors.no_account()
    try:
        return ids.slug(parts[2], "channel"), ids.token(parts[3], "account")
    except errors.Rejected:
        raise channel_errors.no_account() from None
