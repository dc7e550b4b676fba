"""A conversation from the shell with one's own app: through the webhook, the spine, the app, and back.

It uses the running installation, or starts one for as long as the conversation lasts. The app, if one is named, runs as
a process of its own, exactly as it would anywhere else.
"""

import asyncio
import contextlib
import dataclasses
import json
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import httpx

from penstock.app import apps, configuration, endpoints, house, up
from penstock.base import errors, ids, telemetry
from penstock.channels import ports as channel_ports
from penstock.channels.adapters import standard_webhooks
from penstock.servers import folder

ACCOUNT: Final = "terminal"
QUIET_S: Final = 5.0
RETRY_S: Final = 0.5


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """Something an app said."""

    app: str
    text: str
    kind: str


class Terminal:
    """One terminal account, spoken for over HTTP as any platform speaks: signed, and answered by a stream."""

    def __init__(
        self, http_url: str, account: channel_ports.Account, credentials: channel_ports.Credentials, *, after: int
    ) -> None:
        self._account, self._credentials, self._after = account, credentials, after
        self._conversation = ids.new_id()
        self._client = httpx.AsyncClient(base_url=http_url, timeout=httpx.Timeout(30, read=None))

    async def close(self) -> None:
        """Hang up."""
        await self._client.aclose()

    async def say(self, text: str) -> None:
        """Post one message. Raises Rejected or Unavailable as the edge answers."""
        event_id = ids.new_id()
        event = {
            "type": "message.created",
            "id": event_id,
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "data": {
                "conversation": self._conversation,
                "message_id": event_id,
                "sender": {"id": os.environ.get("USER", "you"), "kind": "person"},
                "text": text,
            },
        }
        body = json.dumps(event).encode()
        headers = {"content-type": "application/json", **self._signed(body)}
        try:
            answer = await self._client.post(f"/webhooks/terminal/{self._account.id}", content=body, headers=headers)
        except httpx.HTTPError as error:
            raise errors.Unavailable("core_away", f"the core does not answer ({type(error).__name__})") from None
        if not answer.is_success:
            raise _refused(answer)

    async def replies(self) -> AsyncIterator[Reply]:
        """What apps say in this conversation, for ever; a stream that breaks is taken up again where it was."""
        path = f"/v1/terminal/{self._account.id}/replies"
        while True:
            with contextlib.suppress(httpx.HTTPError):
                query = {"after": str(self._after)}
                async with self._client.stream("GET", path, params=query, headers=self._signed(b"")) as answer:
                    async for line in answer.aiter_lines():
                        found = json.loads(line) if line else None
                        if found is not None:
                            self._after = found["sequence"]
                            if found["command"]["conversation"] == self._conversation:
                                yield _reply(found["command"])
            await asyncio.sleep(RETRY_S)

    def _signed(self, body: bytes) -> dict[str, str]:
        return standard_webhooks.sign(self._credentials, ids.new_id(), int(time.time()), body)


def _reply(command: Mapping[str, Any]) -> Reply:
    kind = next(iter(command.get("relation", {})), "message")
    text = command.get("text") or command.get("relation", {}).get("reaction", {}).get("name", "")
    return Reply(command.get("app", "app"), text, kind)


def _refused(answer: httpx.Response) -> errors.PenstockError:
    problem: dict[str, Any] = {}
    with contextlib.suppress(ValueError):
        problem = answer.json()
    code, detail = str(problem.get("code", "refused")), str(problem.get("title", f"HTTP {answer.status_code}"))
    if answer.status_code in {429, 503}:
        return errors.Unavailable(code, detail, after_s=float(answer.headers.get("retry-after", "1")))
    return errors.Rejected(code, detail, status=answer.status_code)


@contextlib.asynccontextmanager
async def opened(
    found: configuration.Configuration, tenant: str, app: Path | None, told: Callable[[str], None]
) -> AsyncGenerator[Terminal]:
    """A terminal of the tenant (made when missing), with the app running. Raises Rejected, Unavailable."""
    if app is not None and not await asyncio.to_thread(app.is_file):
        raise errors.Rejected("no_app", f"there is no app at {app}", field="app", status=404)
    async with contextlib.AsyncExitStack() as stack:
        environ = await stack.enter_async_context(_installation(found, told))
        joined = await stack.enter_async_context(house.of_running_installation(found))
        account = await _account(joined, tenant)
        account, credentials = await joined.channels.known.find(account.channel, account.id)
        after = await joined.channels.replies.latest(account)
        if app is not None:
            of_app = {"PENSTOCK_SDK__LOG_LEVEL": "warning", **environ, **found.telemetry.for_apps()}
            await stack.enter_async_context(apps.running(app, {**of_app, "PENSTOCK_TENANT": tenant}, told))
        terminal = Terminal(joined.http_url, account, credentials, after=after)
        stack.push_async_callback(terminal.close)
        yield terminal


@contextlib.asynccontextmanager
async def _installation(
    found: configuration.Configuration, told: Callable[[str], None]
) -> AsyncGenerator[Mapping[str, str]]:
    """The environment of the running installation, or of one that lives as long as the block."""
    data = folder.absolute(found.servers.data_folder)
    with contextlib.suppress(errors.Unavailable):
        where = endpoints.read(data)
        if _lives(where.pid):
            yield {**os.environ, "PENSTOCK_DATA": str(data)}
            return
    telemetry.configure_logs(level="error")
    told("Starting Penstock for this conversation ...")
    async with up.running(found, {**os.environ, "PENSTOCK_TELEMETRY__LOG_LEVEL": "error"}) as installation:
        for note in installation.notes:
            told(note)
        yield installation.environ


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


async def _account(joined: house.House, tenant: str) -> channel_ports.Account:
    """The tenant's terminal account; tenant and account are made when they are missing."""
    with contextlib.suppress(errors.Rejected):
        await joined.tenancy.create(tenant)
    await joined.tenancy.require_active(ids.tenant_id(tenant))
    for details in await joined.channels.accounts.list(tenant):
        if details.account.channel == "terminal" and details.account.name == ACCOUNT:
            return details.account
    return (await joined.channels.accounts.create(tenant, "terminal", ACCOUNT)).account
