"""Telegram: a bot's chats, through the Bot API's webhook and methods.

Source: https://core.telegram.org/bots/api (Bot API 10.2). How to set it up, what works and what does not, is
`docs/how-to/channel-telegram.md`.
"""

import dataclasses
import ssl
from collections.abc import Mapping
from typing import Final

from penstock.base import errors, ids, settings
from penstock.channels import ports, registry
from penstock.channels.adapters import (
    endpoint,
    http_post,
    telegram_answers,
    telegram_calls,
    telegram_events,
    telegram_secrets,
    token_refusals,
)
from penstock.messages.v1 import outbound_pb2

NAME: Final = ids.ChannelName("telegram")

API_URL: Final = "https://api.telegram.org"
"""Where the methods are, unless an account's `api_url` says otherwise."""

_CAPABILITIES: Final = outbound_pb2.Capabilities(
    reply=True, thread=True, edit=True, deletion=True, reaction=True, attachment=True, text_limit=4096
)
_HEADERS: Final = {"content-type": "application/json", "accept": "application/json", "user-agent": "penstock"}
_CALLS: Final = 3
"""Calls that one send may take: the method, the same in a group that has moved, the same for a caption."""


class TelegramChannel:
    """A `ports.Channel` over the Bot API. `timeout_s` bounds one call; `tls` replaces the authorities trusted."""

    def __init__(self, *, timeout_s: float = 15.0, tls: ssl.SSLContext | None = None) -> None:
        self._http = http_post.HttpPoster(timeout_s=timeout_s, tls=tls)

    @property
    def name(self) -> ids.ChannelName:
        """`telegram`."""
        return NAME

    @property
    def capabilities(self) -> outbound_pb2.Capabilities:
        """Everything but pins; one file a message."""
        return _CAPABILITIES

    def check_config(self, config: Mapping[str, str]) -> None:
        """Raise Rejected unless `api_url`, where there is one, is a URL to put methods behind."""
        registry.load().find(NAME).check_fields(config)
        _base(config)

    def check_secret(self, kind: ports.SecretKind, secret: settings.Secret) -> None:
        """Raise Rejected unless Telegram takes it as `secret_token`, or could have given it out as a bot's token."""
        telegram_secrets.check(kind, secret)

    def verify(self, request: ports.WebhookRequest, credentials: ports.Credentials) -> None:
        """Raise Rejected (401) unless the request carries a live signing secret of the account."""
        telegram_secrets.verify(request, credentials)

    def read(self, request: ports.WebhookRequest, account: ports.Account) -> ports.Reading:
        """What one update holds. Raises Rejected (400, 413, 415)."""
        del account
        return telegram_events.read(request)

    async def send(
        self, account: ports.Account, credentials: ports.Credentials, command: outbound_pb2.SendCommand
    ) -> ports.Sent:
        """Call the method that says it, with the newest token that Telegram knows.

        Telegram recognises no resend: after Ambiguous, a second call of a new message may show it twice. An edit, a
        deletion or a reaction may safely come again.
        """
        asked, base = telegram_calls.call(command), _base(account.config)
        answer = await self._ask(base, credentials, asked)
        for _ in range(_CALLS - 1):
            instead = telegram_answers.instead(asked, answer)
            if instead is None:
                break
            asked = instead
            answer = await self._ask(base, credentials, asked)
        return telegram_answers.outcome(asked, answer)

    async def close(self) -> None:
        """Hang up."""
        await self._http.close()

    async def _ask(
        self, base: endpoint.Endpoint, credentials: ports.Credentials, asked: telegram_calls.Call
    ) -> telegram_answers.Answer:
        """The answer to a call made with the first token that is not refused, newest first."""
        if not credentials.tokens:
            hint = "Add the bot's token with 'penstock account secret add'."
            raise errors.Rejected("no_token", "the account has no token to call Telegram with", hint=hint)
        body = asked.body()
        for token in credentials.tokens:
            if not telegram_secrets.is_token(token):
                continue  # it would change the URL's meaning
            target = dataclasses.replace(base, target=f"{base.target}/bot{token.reveal()}/{asked.method}")
            try:
                answer = telegram_answers.read(await self._http.post(target, _HEADERS, body), token)
            except ports.Ambiguous as error:
                hint = "Telegram may have taken it, and would not recognise it if it came again."
                raise ports.Ambiguous(error.code, error.detail, hint=hint, after_s=error.after_s) from None
            if not answer.token_refused:
                return answer
            token_refusals.counter.labels(NAME).inc()
        raise telegram_answers.token_refused(credentials.tokens)


def _base(config: Mapping[str, str]) -> endpoint.Endpoint:
    """Where methods are found, its path without a slash at the end. Raises Rejected."""
    parsed = endpoint.parse(config.get("api_url", API_URL), "config.api_url")
    if "?" in parsed.target:
        raise errors.Rejected("bad_config", "config.api_url must not hold a query", field="config.api_url")
    return dataclasses.replace(parsed, target=parsed.target.rstrip("/"))
