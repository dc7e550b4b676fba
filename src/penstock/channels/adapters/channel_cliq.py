"""Zoho Cliq: what a bot's handlers hear comes in signed, messages leave through the REST API.

What is read and how is in `cliq_events`, what is called in `cliq_calls`, what the answers mean in `cliq_answers`. How
to set it up, what works and what does not, is `docs/how-to/channel-cliq.md`.
"""

import dataclasses
import re
import ssl
from collections.abc import Mapping
from datetime import UTC
from typing import Final

from penstock.base import clock as clocks
from penstock.base import errors, ids, settings
from penstock.channels import ports, registry
from penstock.channels.adapters import (
    cliq_answers,
    cliq_calls,
    cliq_events,
    cliq_places,
    cliq_signature,
    endpoint,
    http_connection,
    http_post,
    token_refusals,
)
from penstock.messages.v1 import outbound_pb2

NAME: Final = ids.ChannelName("cliq")

API_URL: Final = "https://cliq.zoho.com/api/v2"
"""Where the REST API is, unless an account's `api_url` says otherwise: each data centre has its own."""

ZAPIKEY: Final = "zapikey"
"""`token_kind` of a webhook token, which stands in the URL and does not end; else it is one of OAuth, in a header."""

_CAPABILITIES: Final = outbound_pb2.Capabilities(
    reply=True,
    thread=True,
    edit=True,
    deletion=True,
    reaction=True,
    attachment=True,
    text_limit=cliq_calls.TEXT_LENGTH,
)
_BOT: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")
_HEADERS: Final = {"accept": "application/json", "user-agent": "penstock"}


class CliqChannel:
    """A `ports.Channel` for one bot per account.

    `timeout_s` bounds one call; `tls` replaces the authorities trusted.
    """

    def __init__(
        self, *, clock: clocks.Clock | None = None, timeout_s: float = 15.0, tls: ssl.SSLContext | None = None
    ) -> None:
        self._clock = clock or clocks.SystemClock()
        self._http = http_post.HttpPoster(timeout_s=timeout_s, tls=tls)

    @property
    def name(self) -> ids.ChannelName:
        """`cliq`."""
        return NAME

    @property
    def capabilities(self) -> outbound_pb2.Capabilities:
        """Everything but pins; files as links."""
        return _CAPABILITIES

    def check_config(self, config: Mapping[str, str]) -> None:
        """Raise Rejected unless there is a bot's unique name, and what else there is makes sense."""
        registry.load().find(NAME).check_fields(config)
        _base(config)
        if not _BOT.fullmatch(config["bot"]):
            raise _bad_config("bot", "must be a bot's unique name: letters, digits, _ and -")
        if "owner" in config and not cliq_places.is_person(config["owner"]):
            raise _bad_config("owner", "must be a user's id: up to 20 digits")
        if config.get("token_kind", "oauth") not in ("oauth", ZAPIKEY):
            raise _bad_config("token_kind", "must be oauth or zapikey")

    def check_secret(self, kind: ports.SecretKind, secret: settings.Secret) -> None:
        """Raise Rejected unless it can sign, or Zoho could have given it out as a token."""
        cliq_signature.check_secret(kind, secret)

    def verify(self, request: ports.WebhookRequest, credentials: ports.Credentials) -> None:
        """Raise Rejected (401) unless a live signing secret signed it, whenever that was."""
        cliq_signature.verify(request, credentials)

    def read(self, request: ports.WebhookRequest, account: ports.Account) -> ports.Reading:
        """The message of an event, or what is kept of it. Raises Rejected (400, 413, 415)."""
        return cliq_events.read(request, account)

    async def send(
        self, account: ports.Account, credentials: ports.Credentials, command: outbound_pb2.SendCommand
    ) -> ports.Sent:
        """Make the call that does what the command asks, with the newest token that Zoho still takes.

        Cliq knows no repeated call again: what was Ambiguous and is sent once more is said twice.
        """
        asked, base = cliq_calls.call(command, account.config["bot"]), _base(account.config)
        in_url = account.config.get("token_kind") == ZAPIKEY
        answer: http_connection.Answer | None = None
        for token in credentials.tokens:
            if not cliq_signature.is_usable(ports.SecretKind.TOKEN, token):
                continue
            answer = await self._ask(base, asked, token.reveal(), in_url=in_url)
            if not cliq_answers.refuses_token(answer):
                break
            token_refusals.counter.labels(NAME).inc()
        if answer is None:
            hint = "Add a token of Zoho's with 'penstock account secret add --kind token'."
            raise errors.Rejected("no_token", "the account has no token to call Cliq with", hint=hint, field="token")
        return cliq_answers.sent(asked, answer, self._clock.now().astimezone(UTC))

    async def close(self) -> None:
        """Hang up."""
        await self._http.close()

    async def _ask(
        self, base: endpoint.Endpoint, asked: cliq_calls.Call, token: str, *, in_url: bool
    ) -> http_connection.Answer:
        path, headers, body = asked.path, dict(_HEADERS), asked.body()
        if in_url:
            path += f"{'&' if '?' in path else '?'}{ZAPIKEY}={token}"
        else:
            headers["authorization"] = f"Zoho-oauthtoken {token}"
        if body:
            headers["content-type"] = "application/json"
        target = dataclasses.replace(base, target=f"{base.target}{path}")
        return await self._http.request(asked.method, target, headers, body)


def _base(config: Mapping[str, str]) -> endpoint.Endpoint:
    """Where calls are found, its path without a slash at the end. Raises Rejected."""
    parsed = endpoint.parse(config.get("api_url", API_URL), "config.api_url")
    if "?" in parsed.target:
        raise _bad_config("api_url", "must not hold a query")
    return dataclasses.replace(parsed, target=parsed.target.rstrip("/"))


def _bad_config(field: str, rule: str) -> errors.Rejected:
    return errors.Rejected("bad_config", f"config.{field} {rule}", field=f"config.{field}")
