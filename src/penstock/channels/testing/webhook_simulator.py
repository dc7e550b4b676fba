"""A chat platform on loopback that speaks Standard Webhooks both ways: strict with what it is sent, rude when told to.

It shares no code with the adapter: both are written from the public specification
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md) and from the wire format in
`docs/reference/webhook-channel.md`.

    async with webhook_simulator.WebhookSimulator([secret]) as simulator:
        # configure an account with simulator.url, then:
        simulator.connect("http://127.0.0.1:8080/webhooks/webhook/acc-1")
        posted = await simulator.say("room-1", "hello")
        await simulator.until(lambda: len(simulator.conversation("room-1")) == 2)
"""

import asyncio
import dataclasses
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Self

import msgspec

from penstock.base import clock as clocks
from penstock.base import ids, settings
from penstock.channels import ports
from penstock.channels.testing import (
    simulator,
    steering,
    webhook_platform,
    webhook_sender,
    webhook_server,
    webhook_signature,
)

Posted = webhook_sender.Posted
Forgery = webhook_sender.Forgery
Arrival = webhook_platform.Arrival

_KINDS: Final = {
    "message.send": "send",
    "message.edit": "edit",
    "message.delete": "delete",
    "reaction.add": "react",
    "reaction.remove": "unreact",
}
_envelopes: Final = msgspec.json.Decoder(webhook_platform.Envelope)


@dataclasses.dataclass(frozen=True, slots=True)
class Behaviour:
    """How to answer the next requests: with `status` after `delay_s`, or by a cut connection.

    `taken`: whether the platform acts on them (by default when the status is 2xx, cut or not). `times`: for how many
    requests, 0 for ever. `conversation`: only there; empty: everywhere. `retry_after`: the header, as it is written.
    """

    status: int = 200
    retry_after: str = ""
    delay_s: float = 0.0
    cut: bool = False
    taken: bool | None = None
    times: int = 0
    conversation: str = ""

    @property
    def takes(self) -> bool:
        """Whether the platform acts on the request."""
        return 200 <= self.status < 300 if self.taken is None else self.taken


class WebhookSimulator(webhook_sender.WebhookSender, steering.Steering[Behaviour]):
    """The platform: what Penstock posts to `url` is checked, recorded and acted on; people here talk to Penstock.

    It is a `simulator.Simulator`. `secrets` are the account's (`whsec_...`), newest first, made up unless given.
    `faults` says what was wrong with requests that broke the protocol, and is empty at the end of a good test.
    """

    channel: str = "webhook"
    abilities: frozenset[str] = frozenset({"reply", "thread", "edit", "delete", "react", "attach"})

    def __init__(
        self,
        secrets: Sequence[str] = (),
        *,
        clock: clocks.Clock | None = None,
        run: str = "",
        patience_s: float = 0.0,
    ) -> None:
        clock = clock or clocks.SystemClock()
        platform = webhook_platform.WebhookPlatform(run or ids.new_id()[-8:])
        super().__init__(
            list(secrets) or [webhook_sender.fresh_secret()], platform=platform, clock=clock, patience_s=patience_s
        )
        self._steer(self._respond, Behaviour())
        self.faults: list[str] = []
        self._expecting: dict[str, list[tuple[int, asyncio.Future[None]]]] = {}

    @property
    def url(self) -> str:
        """Where Penstock posts to; known once started."""
        return f"{self.home}/hook"

    @property
    def config(self) -> Mapping[str, str]:
        """Where Penstock posts to."""
        return {"url": self.url}

    @property
    def secrets(self) -> Mapping[ports.SecretKind, settings.Secret]:
        """The newest secret, which signs both ways."""
        return {ports.SecretKind.SIGNING: settings.Secret(self._newest)}

    def heard(self, conversation: str) -> Sequence[simulator.Heard]:
        """What Penstock said and did in a conversation, in order; a repeated `webhook-id` counts once."""
        return [
            _heard(arrival) for arrival in self.arrivals_in(conversation) if arrival.taken and not arrival.duplicate
        ]

    @property
    def arrivals(self) -> Sequence[webhook_platform.Arrival]:
        """Every sound request so far, in order, whatever it was answered."""
        return self.platform.arrivals

    @property
    def duplicates(self) -> int:
        """How many requests repeated one that had been taken."""
        return self.platform.duplicates

    def arrivals_in(self, conversation: str) -> list[webhook_platform.Arrival]:
        """The sound requests of one conversation, in order."""
        return list(self.platform.arrivals_by_conversation.get(conversation, ()))

    def conversation(self, name: str) -> list[webhook_platform.Utterance]:
        """What people in a conversation see now."""
        return self.platform.conversation(name)

    async def hang_up(self) -> None:
        """Cut every connection that is open now, as a platform does with idle ones."""
        await self._server.hang_up()

    @property
    def connections(self) -> int:
        """How many connections were ever accepted."""
        return self._server.connections

    async def arrived(self, conversation: str, count: int, *, timeout_s: float = 10.0) -> list[Arrival]:
        """Wait until `count` sound requests of one conversation are there: cheap however many wait at once.

        Raises TimeoutError.
        """
        if len(self.platform.arrivals_by_conversation.get(conversation, ())) < count:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._expecting.setdefault(conversation, []).append((count, future))
            async with asyncio.timeout(timeout_s):
                await future
        return self.arrivals_in(conversation)

    async def start(self) -> None:
        """Listen on a free port of loopback."""
        await self._server.start()
        self.home = f"http://{self._server.host}:{self._server.port}"

    async def close(self) -> None:
        """Stop listening and posting."""
        await self._server.stop()
        await self.disconnect()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _respond(self, request: webhook_server.Request) -> webhook_server.Reply:
        if request.method == "GET" and request.target in self.files:
            return webhook_server.Reply(body=self.files[request.target])
        fault = self._request_fault(request)
        if fault:
            return self._refuse(401 if "webhook-" in fault else 400, fault)
        try:
            envelope = _envelopes.decode(request.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return self._refuse(400, f"the body is not a command: {error}")
        fault = self.platform.fault(envelope.type, envelope.data)
        if fault:
            return self._refuse(422, fault)
        return self._act(request.headers["webhook-id"], envelope.type, envelope.data)

    def _request_fault(self, request: webhook_server.Request) -> str:
        if request.method != "POST":
            return f"the method is {request.method}, not POST"
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            return "the content type is not application/json"
        now_s = self.clock.now().timestamp()
        return webhook_signature.faults(request.headers, request.body, self._keys, now_s)

    def _act(self, webhook_id: str, kind: str, command: webhook_platform.Command) -> webhook_server.Reply:
        behaviour = self._next_behaviour(lambda one: one.conversation in ("", command.conversation))
        duplicate = self.platform.is_taken(webhook_id)
        message_id = self.platform.take(webhook_id, kind, command) if behaviour.takes else ""
        status = 404 if message_id is None else behaviour.status
        arrival = webhook_platform.Arrival(
            time.perf_counter(), webhook_id, kind, command, duplicate, bool(message_id), status, message_id or ""
        )
        self.platform.record(arrival)
        self._tell(command.conversation)
        self._wake()
        headers = {"content-type": "application/json"}
        if behaviour.retry_after:
            headers["retry-after"] = behaviour.retry_after
        answer = {"message_id": message_id} if message_id else {"error": "not taken"}
        return webhook_server.Reply(
            status, headers, msgspec.json.encode(answer), delay_s=behaviour.delay_s, cut=behaviour.cut
        )

    def _refuse(self, status: int, fault: str) -> webhook_server.Reply:
        self.faults.append(fault)
        self._wake()
        return webhook_server.Reply(status, {"content-type": "application/json"}, msgspec.json.encode({"error": fault}))

    def _tell(self, conversation: str) -> None:
        """Wake who expects this conversation to grow."""
        expecting = self._expecting.pop(conversation, None)
        if expecting:
            count = len(self.platform.arrivals_by_conversation[conversation])
            for expected, future in expecting:
                if future.done():
                    continue
                if expected <= count:
                    future.set_result(None)
                else:
                    self._expecting.setdefault(conversation, []).append((expected, future))


def _heard(arrival: webhook_platform.Arrival) -> simulator.Heard:
    command = arrival.command
    return simulator.Heard(arrival.at_s, _KINDS[arrival.kind], command.text or command.reaction, arrival.message_id)
