"""Slack: events come over HTTP, messages leave through the Web API.

What is read and how is in `slack_events`, what is called in `slack_calls`, what the answers mean in `slack_answers`.
"""

import ssl
from collections.abc import Mapping
from datetime import UTC
from typing import Final

from penstock.base import clock as clocks
from penstock.base import errors, ids, settings
from penstock.channels import ports, registry
from penstock.channels.adapters import (
    endpoint,
    http_connection,
    http_post,
    slack_answers,
    slack_calls,
    slack_events,
    slack_signature,
    token_refusals,
)
from penstock.messages.v1 import outbound_pb2

NAME: Final = ids.ChannelName("slack")

API_URL: Final = "https://slack.com/api"
"""Where Slack's Web API is, unless an account says otherwise."""

ANSWER_BYTES: Final = 2 << 20
"""Bytes of one answer: Slack sends the whole message back, in escapes, as text and as blocks."""

_CAPABILITIES: Final = outbound_pb2.Capabilities(
    reply=True,
    thread=True,
    edit=True,
    deletion=True,
    reaction=True,
    attachment=True,
    text_limit=slack_calls.TEXT_LENGTH,
)


class SlackChannel:
    """A `ports.Channel` for one app of a workspace per account.

    `timeout_s` bounds one call; `tolerance_s` is how far clocks may be apart; `tls` replaces the authorities trusted.
    """

    def __init__(
        self,
        *,
        clock: clocks.Clock | None = None,
        timeout_s: float = 15.0,
        tolerance_s: float = slack_signature.TOLERANCE_S,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._clock = clock or clocks.SystemClock()
        self._tolerance_s = tolerance_s
        self._http = http_post.HttpPoster(timeout_s=timeout_s, tls=tls, answer_bytes=ANSWER_BYTES)

    @property
    def name(self) -> ids.ChannelName:
        """`slack`."""
        return NAME

    @property
    def capabilities(self) -> outbound_pb2.Capabilities:
        """Everything but pins; files as links."""
        return _CAPABILITIES

    def check_config(self, config: Mapping[str, str]) -> None:
        """Raise Rejected unless `api_url`, where there is one, is one that we post to."""
        registry.load().find(NAME).check_fields(config)
        if "?" in endpoint.parse(_address(config, "auth.test"), "config.api_url").target:
            raise errors.Rejected("bad_config", "config.api_url must not hold a query", field="config.api_url")

    def check_secret(self, kind: ports.SecretKind, secret: settings.Secret) -> None:
        """Raise Rejected unless it looks like a signing secret, or a token, of Slack's."""
        slack_signature.check_secret(kind, secret)

    def verify(self, request: ports.WebhookRequest, credentials: ports.Credentials) -> None:
        """Raise Rejected (401) unless a live signing secret signed it, recently."""
        slack_signature.verify(request, credentials, tolerance_s=self._tolerance_s)

    def read(self, request: ports.WebhookRequest, account: ports.Account) -> ports.Reading:
        """The message of an event, the answer to a challenge, or what is kept. Raises Rejected (400, 413, 415)."""
        del account
        return slack_events.read(request)

    async def send(
        self, account: ports.Account, credentials: ports.Credentials, command: outbound_pb2.SendCommand
    ) -> ports.Sent:
        """Call the method that does what the command asks, with the newest token that Slack still takes.

        Slack knows no repeated call again: what was Ambiguous and is sent once more is said twice.
        """
        method, body = slack_calls.encode(command)
        target = endpoint.parse(_address(account.config, method), "config.api_url")
        answer: http_connection.Answer | None = None
        for token in slack_signature.usable(ports.SecretKind.TOKEN, credentials.tokens):
            answer = await self._http.post(target, {**_HEADERS, "authorization": f"Bearer {token}"}, body)
            if not slack_answers.refuses_token(answer):
                break
            token_refusals.counter.labels(NAME).inc()
        if answer is None:
            hint = "Add the bot's token with 'penstock account secret add --kind token'."
            raise errors.Rejected("no_token", "the account has no token to call Slack with", hint=hint, field="token")
        return slack_answers.sent(method, answer, self._clock.now().astimezone(UTC))

    async def close(self) -> None:
        """Hang up."""
        await self._http.close()


_HEADERS: Final = {
    "content-type": "application/json; charset=utf-8",
    "accept": "application/json",
    "user-agent": "penstock",
}


def _address(config: Mapping[str, str], method: str) -> str:
    return f"{config.get('api_url', API_URL).rstrip('/')}/{method}"
