"""Slack on loopback: strict with what it is sent, rude when told to, and full of people.

It shares no code with the adapter: both are written from https://docs.slack.dev. What Penstock calls under `api_url` is
checked and done, and, as Slack does, told to Penstock again as an event of its own bot.

    async with slack_simulator.SlackSimulator() as simulator:
        # make an account with simulator.config and simulator.secrets, then:
        simulator.connect("http://127.0.0.1:8080/webhooks/slack/acc-1")
        posted = await simulator.say("C0GARDEN", "hello")
        await simulator.until(lambda: len(simulator.heard("C0GARDEN")) == 1)
"""

import asyncio
import dataclasses
import os
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from penstock.base import clock as clocks
from penstock.base import ids, settings
from penstock.channels import ports
from penstock.channels.testing import simulator, slack_delivery, slack_sender, slack_workspace, steering, webhook_server

Forgery = slack_delivery.Forgery

_KINDS: Final = {
    "chat.postMessage": "send",
    "chat.update": "edit",
    "chat.delete": "delete",
    "reactions.add": "react",
    "reactions.remove": "unreact",
}
_arguments: Final = msgspec.json.Decoder(dict[str, Any])


@dataclasses.dataclass(frozen=True, slots=True)
class Behaviour:
    """How to answer the next calls: with `status` and `error` after `delay_s`, or by a cut connection.

    `taken`: whether Slack acts on them (by default when no error is told). `times`: for how many calls, 0 for ever.
    `conversation`, `method`: only those; empty: all. `retry_after`: the header, as it is written.
    """

    status: int = 200
    error: str = ""
    retry_after: str = ""
    delay_s: float = 0.0
    cut: bool = False
    taken: bool | None = None
    times: int = 0
    conversation: str = ""
    method: str = ""

    @property
    def takes(self) -> bool:
        """Whether Slack acts on the call."""
        return (self.status == 200 and not self.error) if self.taken is None else self.taken


class SlackSimulator(slack_sender.SlackSender, steering.Steering[Behaviour]):
    """A workspace with people in it; implements `simulator.Simulator`.

    `signing` and `tokens` are the app's secrets, newest first, made up unless given; `revoked` tokens are refused.
    `echoes`: whether Penstock hears of what its own bot does. `patience_s`: see `slack_delivery.SlackDelivery`.
    """

    channel: str = "slack"
    abilities: frozenset[str] = frozenset({"reply", "thread", "edit", "delete", "react", "attach"})

    def __init__(
        self,
        signing: Sequence[str] = (),
        tokens: Sequence[str] = (),
        *,
        clock: clocks.Clock | None = None,
        patience_s: float = 0.0,
        echoes: bool = True,
    ) -> None:
        clock = clock or clocks.SystemClock()
        run = "".join(letter for letter in ids.new_id()[-9:] if letter.isalnum())
        workspace = slack_workspace.SlackWorkspace(run, lambda: int(clock.now().timestamp() * 1e6))
        super().__init__(
            list(signing) or [fresh_signing_secret()], workspace=workspace, clock=clock, patience_s=patience_s
        )
        self._steer(self._respond, Behaviour())
        self.tokens = list(tokens) or [fresh_token()]
        self.revoked = set[str]()
        self.faults: list[str] = []
        self.calls: list[slack_workspace.Call] = []
        self._echoes, self._echoing = echoes, set[asyncio.Task[None]]()

    @property
    def config(self) -> Mapping[str, str]:
        """Where Penstock finds the Web API."""
        return {"api_url": f"{self.home}/api"}

    @property
    def secrets(self) -> Mapping[ports.SecretKind, settings.Secret]:
        """The app's newest signing secret and bot token."""
        return {
            ports.SecretKind.SIGNING: settings.Secret(self.signing[0]),
            ports.SecretKind.TOKEN: settings.Secret(self.tokens[0]),
        }

    def heard(self, conversation: str) -> Sequence[simulator.Heard]:
        """What Penstock said and did in a channel, in order. Slack recognises no resend: it is said twice."""
        return self._heard_in(conversation)

    async def told(self) -> None:
        """Wait until Penstock has been told of everything that its own bot did so far."""
        while self._echoing:
            await asyncio.wait(self._echoing)

    async def __aenter__(self) -> Self:
        """Listen on a free port of loopback."""
        await self._server.start()
        self.home = f"http://{self._server.host}:{self._server.port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening and posting."""
        for task in list(self._echoing):
            task.cancel()
        await asyncio.gather(*self._echoing, return_exceptions=True)
        await self._server.stop()
        await self.disconnect()

    def _respond(self, request: webhook_server.Request) -> webhook_server.Reply:
        if request.method == "GET" and request.target in self.files:
            return self._file(request)
        method = request.target.removeprefix("/api/")
        arguments, fault = _read(request)
        fault = fault or self.workspace.fault(method, arguments)
        if fault:
            self.faults.append(fault)
            self._wake()
            return _reply(200, {"ok": False, "error": "invalid_arguments"})
        if error := self._stranger(request):
            return _reply(200, {"ok": False, "error": error})
        return self._act(method, arguments)

    def _stranger(self, request: webhook_server.Request) -> str:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not token:
            return "not_authed"
        if token in self.revoked:
            return "token_revoked"
        return "" if token in self.tokens else "invalid_auth"

    def _file(self, request: webhook_server.Request) -> webhook_server.Reply:
        """A file, for who shows the app's token; a stranger is sent to the login page."""
        if self._stranger(request):
            return webhook_server.Reply(302, {"location": f"{self.home}/login"})
        return webhook_server.Reply(200, {"content-type": "application/octet-stream"}, self.files[request.target])

    def _act(self, method: str, arguments: Mapping[str, Any]) -> webhook_server.Reply:
        conversation = str(arguments.get("channel", ""))
        behaviour = self._next_behaviour(
            lambda one: one.conversation in ("", conversation) and one.method in ("", method)
        )
        answer = self.workspace.call(method, arguments) if behaviour.takes else {"ok": False}
        done = bool(answer["ok"])
        call = slack_workspace.Call(time.perf_counter(), method, arguments, answer, done)
        self.calls.append(call)
        if done:
            self._note(conversation, _heard(call))
        if done and self._echoes and self.connected:
            task = asyncio.get_running_loop().create_task(self.echo(call), name="slack echo")
            self._echoing.add(task)
            task.add_done_callback(self._echoing.discard)
        self._wake()
        shown = {"ok": False, "error": behaviour.error} if behaviour.error else answer
        headers = {"retry-after": behaviour.retry_after} if behaviour.retry_after else {}
        return _reply(behaviour.status, shown, headers, delay_s=behaviour.delay_s, cut=behaviour.cut)


def fresh_signing_secret() -> str:
    """A signing secret as an app's page shows it: 32 hexadecimal digits."""
    return os.urandom(16).hex()


def fresh_token() -> str:
    """A bot token as an app's page shows it."""
    return f"xoxb-{int.from_bytes(os.urandom(5), 'big')}-{os.urandom(12).hex()}"


def _read(request: webhook_server.Request) -> tuple[dict[str, Any], str]:
    """The arguments of a call, and how its request breaks the documentation."""
    if request.method != "POST":
        return {}, f"the method is {request.method}, not POST"
    if request.headers.get("content-type", "").lower().replace(" ", "") != "application/json;charset=utf-8":
        return {}, "the content type is not application/json; charset=utf-8"
    try:
        return _arguments.decode(request.body), ""
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return {}, f"the body is not a JSON object: {error}"


def _heard(call: slack_workspace.Call) -> simulator.Heard:
    ts = str(call.answer.get("ts") or call.arguments.get("timestamp"))
    emoji = {name: character for character, name in slack_sender.EMOJI.items()}
    name = str(call.arguments.get("name", ""))
    text = emoji.get(name, name) or slack_workspace.rendered(str(call.arguments.get("text", "")))
    return simulator.Heard(call.at_s, _KINDS[call.method], text, ts)


def _reply(
    status: int,
    answer: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
    *,
    delay_s: float = 0.0,
    cut: bool = False,
) -> webhook_server.Reply:
    head = {"content-type": "application/json; charset=utf-8", **(headers or {})}
    return webhook_server.Reply(status, head, msgspec.json.encode(answer), delay_s=delay_s, cut=cut)
