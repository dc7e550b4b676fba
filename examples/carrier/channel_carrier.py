"""Carrier, an invented platform whose people send plain texts: the shortest adapter that is a whole one.

Carrier posts each event as JSON, signed as `carrier-signature: <seconds since 1970> <hex>`: the HMAC-SHA256, under the
signing secret, of those seconds, a full stop and the body. It takes `POST {api_url}/messages` with the bot's token.
"""

import dataclasses
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC
from typing import Annotated, Final

import msgspec

from penstock.base import clock as clocks
from penstock.base import errors, ids, settings
from penstock.channels import ports
from penstock.channels.adapters import endpoint, http_connection, http_post, json_body, retry_after
from penstock.messages.v1 import message_pb2, outbound_pb2

NAME: Final = ids.ChannelName("carrier")

BACKOFF_S: Final = 5.0
"""Seconds to wait when the platform does not say how long."""

_CAPABILITIES: Final = outbound_pb2.Capabilities(text_limit=1000)
_SECRET: Final = re.compile(r"[\x21-\x7e]{16,200}")
_SECONDS: Final = re.compile(r"[0-9]{1,11}")
_UNINTERESTING: Final = frozenset({"typing"})
_HEADERS: Final = {"content-type": "application/json", "accept": "application/json", "user-agent": "penstock"}

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class _Head(msgspec.Struct):
    """What every event has, whatever its kind."""

    kind: Annotated[str, msgspec.Meta(pattern=r"^[a-z_]{1,40}\Z")]
    id: Id


class _Said(msgspec.Struct):
    """An event of the kind `message`."""

    id: Id
    at: Annotated[int, msgspec.Meta(ge=0, le=253402300799)]
    room: Id
    message: Id
    person: Id = msgspec.field(name="from")
    text: Annotated[str, msgspec.Meta(max_length=10_000)] = ""


class _Taken(msgspec.Struct):
    """What Carrier answers when it took a message."""

    message: str = ""


_heads: Final = msgspec.json.Decoder(_Head)
_said: Final = msgspec.json.Decoder(_Said)
_taken: Final = msgspec.json.Decoder(_Taken)


class CarrierChannel:
    """A `ports.Channel`. `timeout_s` bounds one call; `tolerance_s` is how far clocks may be apart."""

    def __init__(
        self, *, timeout_s: float = 15.0, tolerance_s: float = 300.0, clock: clocks.Clock | None = None
    ) -> None:
        self._clock = clock or clocks.SystemClock()
        self._tolerance_s = tolerance_s
        self._http = http_post.HttpPoster(timeout_s=timeout_s)

    @property
    def name(self) -> ids.ChannelName:
        """The slug in the registry."""
        return NAME

    @property
    def capabilities(self) -> outbound_pb2.Capabilities:
        """Plain texts."""
        return _CAPABILITIES

    def check_config(self, config: Mapping[str, str]) -> None:
        """Raise Rejected unless `api_url`, and nothing else, is a URL that we post to."""
        if unknown := sorted(set(config) - {"api_url"}):
            field = f"config.{unknown[0][:40]}"
            raise errors.Rejected("bad_config", f"{field}: there is no such field", field=field)
        endpoint.parse(config.get("api_url", ""), "config.api_url")

    def check_secret(self, kind: ports.SecretKind, secret: settings.Secret) -> None:
        """Raise Rejected unless it is 16 to 200 visible characters, as the platform makes them."""
        if not _SECRET.fullmatch(secret.reveal()):
            rule = f"a {kind} secret must be 16 to 200 visible characters"
            raise errors.Rejected("bad_secret", rule, field="secret")

    def verify(self, request: ports.WebhookRequest, credentials: ports.Credentials) -> None:
        """Raise Rejected (401) unless a live secret signed this body, recently."""
        seconds, _, offered = request.headers.get("carrier-signature", "").partition(" ")
        if not _SECONDS.fullmatch(seconds):
            raise _unauthorised("bad_signature", "carrier-signature must begin with seconds since 1970")
        content, good = seconds.encode("ascii") + b"." + request.body, False
        for secret in credentials.secrets:
            expected = hmac.new(secret.reveal().encode(), content, hashlib.sha256).hexdigest()
            # Each is compared in full, so that time tells nobody how much of a guess was right.
            good |= hmac.compare_digest(offered.encode("utf-8", "surrogatepass"), expected.encode())
        if not good:
            raise _unauthorised("wrong_signature", "no live secret of the account made this signature")
        if abs(request.received_at.timestamp() - int(seconds)) > self._tolerance_s:
            raise _unauthorised("stale_signature", f"the signature is more than {self._tolerance_s:g} s away from now")

    def read(self, request: ports.WebhookRequest, account: ports.Account) -> ports.Reading:
        """The message in an event. Raises Rejected (400, 413, 415)."""
        del account
        head = json_body.read(_heads, request)
        if head.kind == "message":
            return ports.Reading([_message(json_body.fields(_said, msgspec.Raw(request.body), ""))])
        if head.kind in _UNINTERESTING:
            return ports.Reading(ignored=[head.kind])
        return ports.Reading(unknown=[ports.UnknownEvent(head.id, head.kind, request.body)])

    async def send(
        self, account: ports.Account, credentials: ports.Credentials, command: outbound_pb2.SendCommand
    ) -> ports.Sent:
        """Say it once, with the newest token that the platform takes.

        The command's id goes along as `key`, by which Carrier recognises a resend. Raises as `ports.Channel` says.
        """
        base = endpoint.parse(account.config.get("api_url", ""), "config.api_url")
        target = dataclasses.replace(base, target=f"{base.target.rstrip('/')}/messages")
        said = {"room": command.conversation, "text": command.text, "key": command.command_id}
        if not credentials.tokens:
            raise errors.Rejected("no_token", "the account has no token to call with")
        for token in credentials.tokens:
            headers = {**_HEADERS, "authorization": f"Bearer {token.reveal()}"}
            answer = await self._http.post(target, headers, msgspec.json.encode(said))
            if answer.status != 401:
                return self._outcome(answer)
        raise errors.Rejected("token_refused", "the platform takes none of the account's tokens")

    async def close(self) -> None:
        """Hang up."""
        await self._http.close()

    def _outcome(self, answer: http_connection.Answer) -> ports.Sent:
        status = answer.status
        if status == 200:
            return ports.Sent(_message_id(answer.body))
        if status == 429 or status >= 500:
            now = self._clock.now().astimezone(UTC)
            after_s = retry_after.parse(answer.headers.get("retry-after", ""), now, default_s=BACKOFF_S)
            detail = f"the platform answered {status}"
            if status in (502, 504):  # a gateway speaks for a platform that may have taken it
                raise ports.Ambiguous("gateway_failed", detail, after_s=after_s)
            raise errors.Unavailable("refused_for_now", detail, after_s=after_s, throttled=status == 429)
        raise errors.Rejected("refused", f"the platform answered {status}")


def _message(said: _Said) -> message_pb2.Message:
    message = message_pb2.Message(event_id=said.id, conversation=said.room, message_id=said.message, text=said.text)
    message.sender.id, message.sender.kind = said.person, message_pb2.SENDER_KIND_PERSON
    message.sent_at.seconds = said.at
    return message


def _message_id(body: bytes) -> str:
    """The platform's id for what was sent, when it gives a usable one."""
    try:
        message_id = _taken.decode(body).message
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return message_id if len(message_id) <= 256 and "\0" not in message_id else ""


def _unauthorised(code: str, detail: str) -> errors.Rejected:
    return errors.Rejected(code, detail, status=401, field="carrier-signature")
