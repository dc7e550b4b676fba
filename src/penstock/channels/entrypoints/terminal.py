"""`GET /v1/terminal/{account}/replies?after=<sequence>`: what apps said to a terminal, one JSON object a line, live.

The request is signed with the account's secret like anything else that the terminal sends (Standard Webhooks, over an
empty body). After a break, ask again with the last sequence that was read. An empty line now and then keeps the
connection alive and finds out who has left.
"""

import asyncio
import contextlib
import json
import re
from typing import Any, Final

from google.protobuf import json_format

from penstock.base import clock as clocks
from penstock.base import errors, telemetry
from penstock.channels import errors as channel_errors
from penstock.channels.entrypoints import requests
from penstock.channels.model import account as model
from penstock.channels.service import replies
from penstock.channels.store import commands

PREFIX: Final = "/v1/terminal/"
KEEP_ALIVE_S: Final = 15.0

_PATH = re.compile(r"/v1/terminal/([A-Za-z0-9_-]{1,128})/replies")
_QUERY = re.compile(r"(?:after=([0-9]{1,18}))?")

refused = telemetry.counter(
    "penstock_terminal_refused_total",
    labels=("code",),
    meaning="Reply streams refused, by stable code.",
    remedy="wrong_signature: `penstock chat` uses another secret than the account has.",
)


class Terminal:
    """ASGI application for everything under `/v1/terminal/`."""

    def __init__(self, service: replies.Replies, *, clock: clocks.Clock) -> None:
        self._service, self._clock = service, clock

    async def __call__(self, scope: requests.Scope, receive: requests.Receive, send: requests.Send) -> None:
        """Stream until the client leaves, the account is shut, or this process stops."""
        with contextlib.ExitStack() as stack:
            try:
                account_id, after = address(scope)
                headers = requests.headers_of(scope)
                body = await requests.read_body(receive, headers, limit_bytes=0, deadline_s=5.0)
                request = requests.request_of(scope, headers, body, self._clock.now())
                opened = await self._service.authenticate(account_id, request)
                follower = stack.enter_context(self._service.follow(opened))
            except errors.PenstockError as error:
                refused.labels(error.code).inc()
                raise
            await self._stream(follower, after, receive, send)

    async def _stream(
        self, follower: replies.Follower, after: int, receive: requests.Receive, send: requests.Send
    ) -> None:
        headers = [(b"content-type", b"application/x-ndjson"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        watch = asyncio.create_task(_until_left(receive, follower), name="terminal client")
        try:
            # Once the answer has begun, ending it is all that can be said: the terminal asks again and hears why.
            with contextlib.suppress(errors.PenstockError):
                await self._feed(follower, after, send)
        finally:
            watch.cancel()
        await send({"type": "http.response.body", "body": b""})

    async def _feed(self, follower: replies.Follower, after: int, send: requests.Send) -> None:
        quiet_since = self._clock.monotonic()
        while not follower.over:
            found = await follower.after(after)
            now = self._clock.monotonic()
            if found:
                after = found[-1].sequence
                lines = b"".join(map(line, found))
            elif now - quiet_since >= KEEP_ALIVE_S:
                lines = b"\n"
            else:
                continue
            quiet_since = now
            await send({"type": "http.response.body", "body": lines, "more_body": True})


async def _until_left(receive: requests.Receive, follower: replies.Follower) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
    follower.end()


def address(scope: requests.Scope) -> tuple[str, int]:
    """Account and sequence of a request. Raises Rejected: 404, 405, and 400 `bad_after`."""
    match = _PATH.fullmatch(scope["path"])
    if match is None or not model.is_account_id(match[1]):
        raise channel_errors.no_account()
    if scope["method"] != "GET":
        raise errors.WrongMethod("replies are read", allow=("GET",))
    query = _QUERY.fullmatch(scope.get("query_string", b"").decode("latin-1"))
    if query is None:
        raise errors.Rejected("bad_after", "after must be the sequence of a reply, a number", field="after")
    return match[1], int(query[1] or 0)


def line(reply: commands.Reply) -> bytes:
    """One reply as a line: `sequence`, `message_id`, `sent_at` (RFC 3339), and the SendCommand's JSON as `command`."""
    said: dict[str, Any] = json_format.MessageToDict(reply.command, preserving_proto_field_name=True)
    document = {
        "sequence": reply.sequence,
        "message_id": reply.message_id,
        "sent_at": reply.sent_at.isoformat(),
        "command": said,
    }
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
