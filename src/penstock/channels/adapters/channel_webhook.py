"""The generic signed webhook: any platform, or one's own code, that speaks Standard Webhooks both ways.

The wire format, both ways, is `docs/reference/webhook-channel.md`.
"""

import ssl
from collections.abc import Mapping
from datetime import UTC
from typing import Final

import msgspec

from penstock.base import clock as clocks
from penstock.base import context as contexts
from penstock.base import errors, ids, settings, telemetry
from penstock.channels import ports, registry
from penstock.channels.adapters import (
    endpoint,
    http_connection,
    http_post,
    retry_after,
    standard_webhooks,
    webhook_commands,
    webhook_events,
)
from penstock.messages.v1 import outbound_pb2

NAME: Final = ids.ChannelName("webhook")

BACKOFF_S: Final = 5.0
"""Seconds to wait when a receiver that refuses for now does not say how long."""

_CAPABILITIES: Final = outbound_pb2.Capabilities(
    reply=True, thread=True, edit=True, deletion=True, reaction=True, attachment=True, text_limit=40_000
)
_UNKNOWN: Final = frozenset({502, 504})  # a gateway speaks for a receiver that may have taken it
_LATER: Final = frozenset({408, 425, 429})
_MESSAGE_ID_LENGTH: Final = 256


class _Taken(msgspec.Struct):
    """What a receiver may answer."""

    message_id: str = ""


_taken: Final = msgspec.json.Decoder(_Taken)


class WebhookChannel:
    """A `ports.Channel` over signed HTTP.

    `timeout_s` bounds one send; `tolerance_s` is how far clocks may be apart; `tls` replaces the authorities trusted.
    """

    def __init__(
        self,
        *,
        clock: clocks.Clock | None = None,
        timeout_s: float = 15.0,
        tolerance_s: float = standard_webhooks.TOLERANCE_S,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._clock = clock or clocks.SystemClock()
        self._tolerance_s = tolerance_s
        self._http = http_post.HttpPoster(timeout_s=timeout_s, tls=tls)

    @property
    def name(self) -> ids.ChannelName:
        """`webhook`."""
        return NAME

    @property
    def capabilities(self) -> outbound_pb2.Capabilities:
        """Everything but pins."""
        return _CAPABILITIES

    def check_config(self, config: Mapping[str, str]) -> None:
        """Raise Rejected unless `url` is one that we post to, and `traceparent` is yes, no or not there."""
        registry.load().find(NAME).check_fields(config)
        endpoint.parse(config["url"])
        if config.get("traceparent", "no") not in {"yes", "no"}:
            raise errors.Rejected("bad_config", "traceparent is yes or no", field="config.traceparent")

    def check_secret(self, kind: ports.SecretKind, secret: settings.Secret) -> None:
        """Raise Rejected unless it signs, and is `whsec_` and 24 to 64 bytes in base64."""
        standard_webhooks.check_secret(kind, secret)

    def verify(self, request: ports.WebhookRequest, credentials: ports.Credentials) -> None:
        """Raise Rejected (401) unless Standard Webhooks says that a live secret signed it, recently."""
        standard_webhooks.verify(request, credentials, tolerance_s=self._tolerance_s)

    def read(self, request: ports.WebhookRequest, account: ports.Account) -> ports.Reading:
        """The messages of one event or of a batch. Raises Rejected (400, 413, 415)."""
        del account
        return webhook_events.read(request)

    async def send(
        self, account: ports.Account, credentials: ports.Credentials, command: outbound_pb2.SendCommand
    ) -> ports.Sent:
        """Post the command, with the command's id as `webhook-id`: a resend is recognisably the same request.

        2xx: sent. 429 and 503 (with Retry-After), 408, 425 and other 5xx: Unavailable. 502, 504, and no answer at all:
        Ambiguous. Anything else, redirects among them: Rejected for good.
        """
        target = endpoint.parse(account.config.get("url", ""))
        body = webhook_commands.encode(command)
        signed = standard_webhooks.sign(
            credentials, ids.encode_token(command.command_id), int(self._clock.now().timestamp()), body
        )
        answer = await self._http.post(target, {**_HEADERS, **signed, **_trace(account)}, body)
        if 200 <= answer.status < 300:
            return ports.Sent(_message_id(answer.body))
        raise self._refusal(answer)

    async def close(self) -> None:
        """Hang up."""
        await self._http.close()

    def _refusal(self, answer: http_connection.Answer) -> errors.PenstockError:
        status = answer.status
        if status in _UNKNOWN:
            return ports.Ambiguous(
                "gateway_failed", f"a gateway answered {status} for the receiver", after_s=self._wait_s(answer)
            )
        if status in _LATER or status >= 500:
            return errors.Unavailable(
                "refused_for_now",
                f"the receiver answered {status}",
                after_s=self._wait_s(answer),
                throttled=status == 429,
            )
        if 300 <= status < 400:
            hint = "Configure the account with the URL that it redirects to."
            return errors.Rejected(
                "redirected", f"the receiver answered {status}; redirects are not followed", hint=hint
            )
        return errors.Rejected("refused", f"the receiver answered {status}", hint="The receiver knows why.")

    def _wait_s(self, answer: http_connection.Answer) -> float:
        return retry_after.parse(
            answer.headers.get("retry-after", ""), self._clock.now().astimezone(UTC), default_s=BACKOFF_S
        )


_HEADERS: Final = {"content-type": "application/json", "accept": "application/json", "user-agent": "penstock"}


def _trace(account: ports.Account) -> dict[str, str]:
    """Where this send is in its trace, for receivers that belong to whoever runs this: a stranger learns nothing."""
    context = telemetry.current() if account.config.get("traceparent") == "yes" else None
    return {contexts.TRACEPARENT: context.traceparent} if context is not None else {}


def _message_id(body: bytes) -> str:
    """The receiver's id for the message, when it gives a usable one."""
    try:
        message_id = _taken.decode(body).message_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return message_id if len(message_id) <= _MESSAGE_ID_LENGTH and "\0" not in message_id else ""
