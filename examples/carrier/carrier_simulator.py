"""Carrier on loopback: strict with what it is sent, rude when told to, and full of people.

It shares no code with the adapter: both are written from the platform's own words (`README.md`), so that one mistake
is not made twice.

    async with carrier_simulator.CarrierSimulator() as simulator:
        # make an account with simulator.config and simulator.secrets, then:
        simulator.connect("http://127.0.0.1:8080/webhooks/carrier/acc-1")
        posted = await simulator.say("loft", "hello")
        await simulator.until(lambda: len(simulator.heard("loft")) == 1)
"""

import asyncio
import dataclasses
import hashlib
import hmac
import os
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self, cast

import msgspec

from penstock.base import settings
from penstock.channels import ports
from penstock.channels.testing import simulator, webhook_client, webhook_server

_RETRY_S: Final = 0.5


@dataclasses.dataclass(frozen=True, slots=True)
class Behaviour:
    """How to answer calls from now on; `taken`: whether the platform acts on them."""

    status: int = 200
    retry_after: str = ""
    delay_s: float = 0.0
    cut: bool = False
    taken: bool = True


class CarrierSimulator:
    """The platform; implements `simulator.Simulator`. `patience_s`: how long an unanswered event is posted again."""

    channel: str = "carrier"
    abilities: frozenset[str] = frozenset()

    def __init__(self, signing: Sequence[str] = (), tokens: Sequence[str] = (), *, patience_s: float = 0.0) -> None:
        self.signing = list(signing) or [os.urandom(16).hex()]
        self.tokens = list(tokens) or [os.urandom(16).hex()]
        self.faults: list[str] = []
        self.behaviour = Behaviour()
        self._patience_s = patience_s
        self._heard: dict[str, dict[str, simulator.Heard]] = {}
        self._numbers = 0
        self._run = os.urandom(4).hex()
        self._client: webhook_client.WebhookClient | None = None
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._server = webhook_server.WebhookServer(self._respond)

    @property
    def config(self) -> Mapping[str, str]:
        """Where Penstock finds the platform."""
        return {"api_url": f"http://{self._server.host}:{self._server.port}/v1"}

    @property
    def secrets(self) -> Mapping[ports.SecretKind, settings.Secret]:
        """The newest of each kind."""
        return {
            ports.SecretKind.SIGNING: settings.Secret(self.signing[0]),
            ports.SecretKind.TOKEN: settings.Secret(self.tokens[0]),
        }

    def connect(self, webhook_url: str) -> None:
        """Post to this account's URL from now on."""
        self._client = webhook_client.WebhookClient(webhook_url)

    async def say(self, conversation: str, text: str, *, thread: str = "", reply_to: str = "") -> simulator.Posted:
        """Somebody says something; there are neither threads nor answers here."""
        del thread, reply_to
        message_id, event_id = self._next("msg"), self._next("evt")
        event = {
            "kind": "message",
            "id": event_id,
            "at": int(time.time()),
            "room": conversation,
            "from": "ann",
            "message": message_id,
            "text": text,
        }
        return await self._post(simulator.Posted(event_id, message_id, 0, msgspec.json.encode(event)))

    async def edit(self, conversation: str, message_id: str, text: str) -> simulator.Posted:
        """Nobody can."""
        raise NotImplementedError("people here cannot change a message")

    async def delete(self, conversation: str, message_id: str) -> simulator.Posted:
        """Nobody can."""
        raise NotImplementedError("people here cannot take a message back")

    async def react(self, conversation: str, message_id: str, reaction: str) -> simulator.Posted:
        """Nobody can."""
        raise NotImplementedError("people here cannot react")

    async def attach(self, conversation: str, name: str, content: bytes) -> simulator.Posted:
        """Nobody can."""
        raise NotImplementedError("people here cannot send files")

    async def repeat(self, posted: simulator.Posted) -> simulator.Posted:
        """Deliver the same event again."""
        return await self._post(posted)

    def heard(self, conversation: str) -> Sequence[simulator.Heard]:
        """What Penstock said in a conversation, in order; what came again under the same key counts once."""
        return list(self._heard.get(conversation, {}).values())

    async def until(self, condition: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
        """Wait until a condition, looked at after every request that arrives, holds. Raises TimeoutError."""
        if condition():
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((condition, future))
        async with asyncio.timeout(timeout_s):
            await future

    async def start(self) -> None:
        """Be up, under the same address as before."""
        await self._server.start()

    async def stop(self) -> None:
        """Be down: refuse connections, and cut those that are open."""
        await self._server.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        if self._client is not None:
            await self._client.close()

    def _next(self, kind: str) -> str:
        self._numbers += 1
        return f"{kind}-{self._run}-{self._numbers}"

    async def _post(self, posted: simulator.Posted) -> simulator.Posted:
        """Sign and post, again and again while there is patience."""
        if self._client is None:
            raise RuntimeError("tell the simulator where to post: simulator.connect(url)")
        until_s = time.monotonic() + self._patience_s
        while True:
            headers = {
                "content-type": "application/json",
                "carrier-signature": signature(self.signing[0], int(time.time()), posted.body),
            }
            try:
                status = (await self._client.post(headers, posted.body)).status
            except OSError:
                status = 0
            if (status not in (0, 429) and status < 500) or time.monotonic() + _RETRY_S > until_s:
                return dataclasses.replace(posted, status=status)
            await asyncio.sleep(_RETRY_S)

    def _respond(self, request: webhook_server.Request) -> webhook_server.Reply:
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return webhook_server.Reply(401)
        said, fault = _read(request)
        if fault:
            self.faults.append(fault)
        if fault or not self.behaviour.taken:
            reply = webhook_server.Reply(400 if fault else self.behaviour.status)
        else:
            room = self._heard.setdefault(said["room"], {})
            new = simulator.Heard(time.perf_counter(), "send", said["text"], self._next("msg"))
            taken = room.setdefault(said["key"], new)
            body = msgspec.json.encode({"message": taken.message_id})
            reply = webhook_server.Reply(self.behaviour.status, {"content-type": "application/json"}, body)
        self._wake()
        headers = {**reply.headers, **({"retry-after": wait} if (wait := self.behaviour.retry_after) else {})}
        return dataclasses.replace(reply, headers=headers, delay_s=self.behaviour.delay_s, cut=self.behaviour.cut)

    def _wake(self) -> None:
        for waiting in list(self._waiting):
            condition, future = waiting
            if future.done() or condition():
                self._waiting.remove(waiting)
                if not future.done():
                    future.set_result(None)


def signature(secret: str, seconds: int, body: bytes) -> str:
    """The value of `carrier-signature`."""
    return f"{seconds} {hmac.new(secret.encode(), b'%d.%b' % (seconds, body), hashlib.sha256).hexdigest()}"


def _read(request: webhook_server.Request) -> tuple[dict[str, str], str]:
    """A call's fields, and how it breaks the platform's own words."""
    if request.method != "POST" or request.target != "/v1/messages":
        return {}, f"{request.method} {request.target} is no call"
    try:
        found: Any = msgspec.json.decode(request.body)
    except msgspec.DecodeError as error:
        return {}, f"the body is not JSON: {error}"
    if not isinstance(found, dict):
        return {}, "the body is not an object"
    fields = cast("dict[str, Any]", found)
    if missing := [name for name in ("room", "text", "key") if not isinstance(fields.get(name), str)]:
        return {}, f"{missing[0]} is missing"
    return fields, ""
