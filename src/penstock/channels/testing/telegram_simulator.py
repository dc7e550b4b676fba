"""Telegram on loopback: strict with what it is sent, rude when told to, and full of people.

It shares no code with the adapter: both are written from https://core.telegram.org/bots/api. Chats have names here and
numbers on the wire, as on Telegram.

    async with telegram_simulator.TelegramSimulator() as simulator:
        # make an account with simulator.config and simulator.secrets, then:
        simulator.connect("http://127.0.0.1:8080/webhooks/telegram/acc-1")
        posted = await simulator.say("garden", "hello")
        await simulator.until(lambda: len(simulator.heard("garden")) == 1)
"""

import dataclasses
import os
import re
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from penstock.base import clock as clocks
from penstock.base import settings
from penstock.channels import ports
from penstock.channels.testing import simulator, steering, telegram_platform, telegram_sender, webhook_server

Forgery = telegram_sender.Forgery

_PATH: Final = re.compile(r"/telegram/bot([^/]*)/([A-Za-z]+)")
_TOKEN: Final = re.compile(r"[1-9][0-9]*:[A-Za-z0-9_-]+")


@dataclasses.dataclass(frozen=True, slots=True)
class Behaviour:
    """How to answer the next calls: with `status` after `delay_s`, or by a cut connection.

    `taken`: whether Telegram acts on them (by default when the status is 200). `times`: for how many calls, 0 for
    ever. `chat`: only there; empty: everywhere. `words` is the description, `retry_after_s` the parameter.
    """

    status: int = 200
    words: str = ""
    retry_after_s: int = 0
    delay_s: float = 0.0
    cut: bool = False
    taken: bool | None = None
    times: int = 0
    chat: str = ""

    @property
    def takes(self) -> bool:
        """Whether Telegram acts on the call."""
        return self.status == 200 if self.taken is None else self.taken


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """One sound call: when (seconds of the performance counter), what, and whether Telegram acted on it."""

    at_s: float
    method: str
    parameters: telegram_platform.Parameters
    done: bool


class TelegramSimulator(telegram_sender.TelegramSender, steering.Steering[Behaviour]):
    """Telegram as one bot sees it; implements `simulator.Simulator`.

    `words` and `tokens` are the account's secrets, newest first, made up unless given; a token in `revoked` is
    answered as Telegram answers one that @BotFather has taken back.
    """

    channel: str = "telegram"
    abilities: frozenset[str] = frozenset({"reply", "thread", "edit", "react", "attach"})

    def __init__(
        self,
        words: Sequence[str] = (),
        tokens: Sequence[str] = (),
        *,
        clock: clocks.Clock | None = None,
        patience_s: float = 0.0,
    ) -> None:
        platform = telegram_platform.TelegramPlatform(int.from_bytes(os.urandom(4), "big"))
        super().__init__(
            list(words) or [fresh_word()],
            platform=platform,
            clock=clock or clocks.SystemClock(),
            patience_s=patience_s,
        )
        self._steer(self._respond, Behaviour())
        self.tokens = list(tokens) or [fresh_token()]
        self.revoked = set[str]()
        self.faults: list[str] = []
        self.calls: list[Call] = []

    @property
    def config(self) -> Mapping[str, str]:
        """Where Penstock finds the Bot API."""
        return {"api_url": f"http://{self._server.host}:{self._server.port}/telegram"}

    @property
    def secrets(self) -> Mapping[ports.SecretKind, settings.Secret]:
        """The newest secret word and token."""
        return {
            ports.SecretKind.SIGNING: settings.Secret(self.words[0]),
            ports.SecretKind.TOKEN: settings.Secret(self.tokens[0]),
        }

    def conversation(self, name: str) -> Sequence[telegram_platform.Post]:
        """What people in a chat see now, in the order in which it was said."""
        return list(self.platform.chat(name).posts.values())

    def heard(self, conversation: str) -> Sequence[simulator.Heard]:
        """What Penstock said and did in a chat, in order. Telegram recognises no resend: it is said twice."""
        return self._heard_in(self.platform.chat(conversation).id)

    async def __aenter__(self) -> Self:
        """Listen on a free port of loopback."""
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening and posting."""
        await self._server.stop()
        await self.disconnect()

    def _respond(self, request: webhook_server.Request) -> webhook_server.Reply:
        try:
            reply = self._answer(request)
        except telegram_platform.Refused as refused:
            reply = _refusal(refused.status, refused.words, refused.parameters)
        self._wake()
        return reply

    def _answer(self, request: webhook_server.Request) -> webhook_server.Reply:
        path = _PATH.fullmatch(request.target)
        if path is None or not _TOKEN.fullmatch(path[1]):
            return self._faulty(404, "Not Found", f"a {request.method} of a path that has no bot<token>/METHOD_NAME")
        method = {known.lower(): known for known in telegram_platform.METHODS}.get(path[2].lower())
        if path[1] not in self.tokens or path[1] in self.revoked:
            raise telegram_platform.Refused(401, "Unauthorized")
        if method is None:
            return self._faulty(404, "Not Found: method not found", f"there is no method {path[2]}")
        content_type = request.headers.get("content-type", "")
        if request.method != "POST" or content_type.partition(";")[0] != "application/json":
            return self._faulty(400, "Bad Request", f"{request.method} of {content_type!r}, not a POST of JSON")
        try:
            parameters = telegram_platform.decode(method, request.body)
        except ValueError as error:
            return self._faulty(400, "Bad Request: can't parse parameters", str(error))
        return self._act(method, parameters)

    def _act(self, method: str, parameters: telegram_platform.Parameters) -> webhook_server.Reply:
        chat = parameters.chat_id
        behaviour = self._next_behaviour(lambda one: not one.chat or self.platform.chat(one.chat).id == chat)
        before = self._reaction(parameters)
        result: Any = None
        try:
            if behaviour.takes:
                result = self.platform.do(method, parameters, int(self.clock.now().timestamp()))
        finally:
            at_s = time.perf_counter()
            heard = None if result is None else _heard(at_s, parameters, result, before)
            self.calls.append(Call(at_s, method, parameters, heard is not None))
            if heard is not None:
                self._note(chat, heard)
        told = {"retry_after": behaviour.retry_after_s} if behaviour.retry_after_s else {}
        if behaviour.status == 200:
            reply = _reply(200, {"ok": True, "result": result})
        else:
            reply = _refusal(behaviour.status, behaviour.words, told)
        return dataclasses.replace(reply, delay_s=behaviour.delay_s, cut=behaviour.cut)

    def _reaction(self, parameters: telegram_platform.Parameters) -> str:
        """What the bot's reaction was before it is changed."""
        if not isinstance(parameters, telegram_platform.SetReaction):
            return ""
        post = self.platform.chat(str(parameters.chat_id)).posts.get(parameters.message_id)
        return "".join(post.reactions) if post else ""

    def _faulty(self, status: int, words: str, fault: str) -> webhook_server.Reply:
        self.faults.append(fault)
        return _refusal(status, words, {})


def fresh_word() -> str:
    """A secret word as setWebhook takes it."""
    return os.urandom(16).hex()


def fresh_token() -> str:
    """A token as @BotFather gives it out."""
    return f"{telegram_platform.BOT['id']}:{os.urandom(18).hex()[:35]}"


def _heard(at_s: float, parameters: telegram_platform.Parameters, result: Any, before: str) -> simulator.Heard:
    match parameters:
        case telegram_platform.New():
            text = parameters.text or parameters.caption
            return simulator.Heard(at_s, "send", text, str(result["message_id"]))
        case telegram_platform.Edit():
            return simulator.Heard(at_s, "edit", parameters.text or parameters.caption, str(parameters.message_id))
        case telegram_platform.Deletion():
            return simulator.Heard(at_s, "delete", "", str(parameters.message_id))
        case telegram_platform.SetReaction():
            put = parameters.reaction[0].emoji if parameters.reaction else ""
            kind = "react" if put else "unreact"
            return simulator.Heard(at_s, kind, put or before, str(parameters.message_id))


def _refusal(status: int, words: str, parameters: Mapping[str, int]) -> webhook_server.Reply:
    """#making-requests, #responseparameters; who has to wait is told so in a header as well."""
    body = {"ok": False, "error_code": status, "description": words}
    reply = _reply(status, {**body, "parameters": dict(parameters)} if parameters else body)
    if wait_s := parameters.get("retry_after"):
        return dataclasses.replace(reply, headers={**reply.headers, "retry-after": str(wait_s)})
    return reply


def _reply(status: int, body: Mapping[str, Any]) -> webhook_server.Reply:
    return webhook_server.Reply(status, {"content-type": "application/json"}, msgspec.json.encode(body))
