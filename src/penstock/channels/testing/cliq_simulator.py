"""Zoho Cliq on loopback: strict with what it is sent, rude when told to, and full of people.

It shares no code with the adapter: both are written from https://www.zoho.com/cliq/help. Chats have names here and ids
on the wire: `@ann` is the bot's chat with Ann, anything else a channel.

    async with cliq_simulator.CliqSimulator() as simulator:
        # make an account with simulator.config and simulator.secrets, then:
        simulator.connect("http://127.0.0.1:8080/webhooks/cliq/acc-1")
        posted = await simulator.say("garden", "hello")
        await simulator.until(lambda: len(simulator.heard("garden")) == 1)
"""

import dataclasses
import os
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from penstock.base import clock as clocks
from penstock.base import settings
from penstock.channels import ports
from penstock.channels.testing import cliq_platform, cliq_sender, simulator, steering, webhook_server

Forgery = cliq_sender.Forgery

_PATH: Final = "/api/v2"
_arguments: Final = msgspec.json.Decoder(dict[str, Any])


@dataclasses.dataclass(frozen=True, slots=True)
class Behaviour:
    """How to answer the next calls: with `status` and `body` after `delay_s`, or by a cut connection.

    `taken`: whether Cliq acts on them (by default when the status is 200). `times`: for how many calls, 0 for ever.
    `retry_after`: the header, as it is written; the documentation has none.
    """

    status: int = 200
    body: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    retry_after: str = ""
    delay_s: float = 0.0
    cut: bool = False
    taken: bool | None = None
    times: int = 0

    @property
    def takes(self) -> bool:
        """Whether Cliq acts on the call."""
        return self.status == 200 if self.taken is None else self.taken


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """One sound call: when (seconds of the performance counter), what, and what became of it."""

    at_s: float
    method: str
    path: str
    arguments: Mapping[str, Any]
    done: cliq_platform.Done | None


class CliqSimulator(cliq_sender.CliqSender, steering.Steering[Behaviour]):
    """Cliq as one bot sees it; implements `simulator.Simulator`.

    `signing` and `tokens` are the account's secrets, newest first, made up unless given; `revoked` tokens are refused.
    `token_in_url`: whether tokens are webhook tokens, which stand in the URL.
    """

    channel: str = "cliq"
    abilities: frozenset[str] = frozenset({"reply", "thread", "edit", "delete", "attach"})

    def __init__(
        self,
        signing: Sequence[str] = (),
        tokens: Sequence[str] = (),
        *,
        clock: clocks.Clock | None = None,
        patience_s: float = 0.0,
        token_in_url: bool = False,
    ) -> None:
        clock = clock or clocks.SystemClock()
        run = int.from_bytes(os.urandom(4), "big")
        platform = cliq_platform.CliqPlatform(run, lambda: int(clock.now().timestamp() * 1000))
        super().__init__(
            list(signing) or [fresh_signing_secret()], platform=platform, clock=clock, patience_s=patience_s
        )
        self._steer(self._respond, Behaviour())
        self.tokens = list(tokens) or [fresh_token()]
        self.token_in_url = token_in_url
        self.revoked = set[str]()
        self.faults: list[str] = []
        self.calls: list[Call] = []

    @property
    def config(self) -> Mapping[str, str]:
        """The bot's name, and where Penstock finds the REST API."""
        fields = {"bot": self.platform.bot, "api_url": f"http://{self._server.host}:{self._server.port}{_PATH}"}
        return {**fields, "token_kind": "zapikey"} if self.token_in_url else fields

    @property
    def secrets(self) -> Mapping[ports.SecretKind, settings.Secret]:
        """The newest signing secret and token."""
        return {
            ports.SecretKind.SIGNING: settings.Secret(self.signing[0]),
            ports.SecretKind.TOKEN: settings.Secret(self.tokens[0]),
        }

    def conversation(self, name: str) -> Sequence[cliq_platform.Post]:
        """What people in a chat and its threads see now, in the order in which it was said."""
        return [post for post in self.platform.chat(name).posts.values() if not post.deleted]

    def heard(self, conversation: str) -> Sequence[simulator.Heard]:
        """What Penstock said and did in a chat, in order. Cliq recognises no resend: it is said twice."""
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
        except cliq_platform.Refused as refused:
            reply = _reply(refused.status, refused.body)
        except cliq_platform.Faulty as fault:
            self.faults.append(str(fault))
            reply = _reply(400, {"message": "The request cannot be performed."})
        self._wake()
        return reply

    def _answer(self, request: webhook_server.Request) -> webhook_server.Reply:
        parts = urllib.parse.urlsplit(request.target)
        query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
        self._check_token(request, query)
        path, arguments = parts.path.removeprefix(_PATH), _read(request)
        if path == parts.path:
            raise cliq_platform.Faulty(f"{parts.path} is not below {_PATH}")
        behaviour, done = self._next_behaviour(lambda _: True), None
        try:
            if behaviour.takes:
                done = self.platform.do(request.method, path, query, arguments)
        finally:
            at_s = time.perf_counter()
            self.calls.append(Call(at_s, request.method, path, arguments, done))
            if done is not None:
                self._note(done.chat.id, simulator.Heard(at_s, done.kind, done.text, done.post.message_id))
        if behaviour.status == 200 and done is not None:
            reply = _reply(done.status, done.body)
        else:
            headers = {"retry-after": behaviour.retry_after} if behaviour.retry_after else {}
            reply = _reply(behaviour.status, behaviour.body, headers)
        return dataclasses.replace(reply, delay_s=behaviour.delay_s, cut=behaviour.cut)

    def _check_token(self, request: webhook_server.Request, query: dict[str, str]) -> None:
        """Raise Refused (401) unless there is a valid token where it belongs; takes it out of the query."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if self.token_in_url:
            token, scheme = query.pop("zapikey", ""), "" if scheme else "Zoho-oauthtoken"
        if scheme != "Zoho-oauthtoken" or token not in self.tokens or token in self.revoked:
            raise cliq_platform.Refused(401, "", "Request was rejected because of invalid AuthToken.")


def fresh_signing_secret() -> str:
    """A secret that a handler's script can hold."""
    return os.urandom(24).hex()


def fresh_token() -> str:
    """A token as Zoho gives it out."""
    return f"1000.{os.urandom(16).hex()}.{os.urandom(16).hex()}"


def _read(request: webhook_server.Request) -> dict[str, Any]:
    """The arguments of a call. Raises Faulty."""
    if not request.body:
        return {}
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0] != "application/json":
        raise cliq_platform.Faulty(f"a body of {content_type!r}, not of JSON")
    try:
        return _arguments.decode(request.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise cliq_platform.Faulty(f"the body is not a JSON object: {error}") from None


def _reply(status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> webhook_server.Reply:
    if status == 204:
        return webhook_server.Reply(204)
    head = {"content-type": "application/json", **(headers or {})}
    return webhook_server.Reply(status, head, msgspec.json.encode(body))
