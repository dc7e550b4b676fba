"""`POST /webhooks/{channel}/{account}`: the door that platforms knock at. A raw ASGI callable, because it is hot.

Only what must be known before a signature can be checked is decided here: path, method, account, size, speed. Errors
are raised; the edge writes them as problems.
"""

import contextlib
from collections.abc import Generator
from typing import Final

from penstock.base import clock as clocks
from penstock.base import errors, ids
from penstock.channels import errors as channel_errors
from penstock.channels.entrypoints import requests
from penstock.channels.service import inbound

PREFIX: Final = "/webhooks/"

HELD_BYTES: Final = 64 << 20
"""Bytes of bodies that one process holds at once: many times what honest platforms need, and no more memory."""


class Webhooks:
    """ASGI application for everything under `/webhooks/`."""

    def __init__(
        self, service: inbound.Inbound, *, clock: clocks.Clock, body_limit_bytes: int, body_deadline_s: float
    ) -> None:
        self._service, self._clock = service, clock
        self._limit_bytes, self._deadline_s = body_limit_bytes, body_deadline_s
        self._held = requests.Held(max(HELD_BYTES, body_limit_bytes))

    async def __call__(self, scope: requests.Scope, receive: requests.Receive, send: requests.Send) -> None:
        """Answer one request, after what it holds is stored."""
        with _counted():
            channel, account = address(scope["path"])
            if scope["method"] != "POST":
                raise errors.WrongMethod("webhooks are posted", allow=("POST",))
            headers = requests.headers_of(scope)
        # Before the body: who does not even know an account's id shall not make us hold anything.
        await self._service.require_account(channel, account)
        with self._held.share() as take:
            with _counted():
                body = await requests.read_body(
                    receive, headers, limit_bytes=self._limit_bytes, deadline_s=self._deadline_s, take=take
                )
            request = requests.request_of(scope, headers, body, self._clock.now())
            answer = await self._service.receive(channel, account, request)
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": [
                    (b"content-type", answer.content_type.encode("latin-1")),
                    (b"content-length", b"%d" % len(answer.body)),
                ],
            }
        )
        await send({"type": "http.response.body", "body": answer.body})


@contextlib.contextmanager
def _counted() -> Generator[None]:
    """Count what is refused before the service has seen it."""
    try:
        yield
    except errors.PenstockError as error:
        inbound.refused.labels("unread", error.code).inc()
        raise


def address(path: str) -> tuple[str, str]:
    """Channel and account of a path. Raises Rejected `no_account` (404) for any other form."""
    parts = path.split("/")
    if len(parts) != 4 or parts[0] or parts[1] != "webhooks":
        raise channel_errors.no_account()
    try:
        return ids.slug(parts[2], "channel"), ids.token(parts[3], "account")
    except errors.Rejected:
        raise channel_errors.no_account() from None
