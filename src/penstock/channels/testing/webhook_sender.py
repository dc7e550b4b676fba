"""The half of the simulated platform that talks to Penstock: people say things, and sometimes somebody forges.

Events have the shape of `docs/reference/webhook-channel.md`.
"""

import base64
import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from penstock.base import clock as clocks
from penstock.channels.testing import posting, simulator, webhook_platform, webhook_signature

WRONG_SECRET: Final = "whsec_d3JvbmctLXdyb25nLS13cm9uZy0td3Jvbmc="
"""A well-formed secret that no account has."""


@dataclasses.dataclass(frozen=True, slots=True)
class Forgery:
    """What is wrong with a request on purpose; nothing by default.

    `age_s`: how old its timestamp is (negative: from the future). `second_secret`: signed with the older live secret.
    `without`: headers left out. `body`: sent instead of what was signed. `webhook_id`: instead of a fresh one.
    """

    wrong_secret: bool = False
    second_secret: bool = False
    age_s: float = 0.0
    without: frozenset[str] = frozenset()
    body: bytes | None = None
    webhook_id: str = ""
    content_type: str = "application/json"


@dataclasses.dataclass(frozen=True, slots=True)
class Posted(simulator.Posted):
    """What became of one event, and under which id it was delivered; `latency_s` until the last attempt's answer."""

    webhook_id: str
    latency_s: float
    attempts: int
    answer: bytes

    @property
    def ok(self) -> bool:
        """Whether Penstock took it."""
        return 200 <= self.status < 300


class WebhookSender(posting.Posting):
    """Posts signed events to the URL of an account.

    `patience_s`: for how long an event that got no answer, 429 or 5xx is posted again under the same webhook-id, as
    platforms do; 0: once only. `home`: the URL under which `files` (by path) are offered, known once started.
    `headers` go along with every request, unsigned (a traceparent, say).
    """

    def __init__(
        self,
        secrets: Sequence[str],
        *,
        platform: webhook_platform.WebhookPlatform,
        clock: clocks.Clock,
        patience_s: float,
    ) -> None:
        super().__init__(patience_s, insists=True)
        self.platform = platform
        self.clock = clock
        self.home = ""
        self.files: dict[str, bytes] = {}
        self.headers: dict[str, str] = {}
        self._keys: list[bytes] = []
        self.use_secrets(secrets)

    def use_secrets(self, secrets: Sequence[str]) -> None:
        """Sign with, and expect signatures of, these secrets from now on: `whsec_...`, newest first."""
        self._keys = [webhook_signature.key_from(secret) for secret in secrets]
        self._newest = secrets[0]

    async def say(
        self,
        conversation: str,
        text: str,
        *,
        sender: str = "ann",
        thread: str = "",
        reply_to: str = "",
        forgery: Forgery = Forgery(),
    ) -> Posted:
        """Somebody says something, in a thread or in answer to a message."""
        data = {"text": text, "thread": thread, "reply_to": reply_to}
        return await self._create(conversation, sender, data, forgery)

    async def attach(
        self, conversation: str, name: str, content: bytes, *, text: str = "", sender: str = "ann"
    ) -> Posted:
        """Somebody sends a file, which can be fetched under its URL."""
        file_id = self.platform.next_id("file")
        self.files[f"/files/{file_id}"] = content
        attachment = {
            "id": file_id,
            "name": name,
            "media_type": "application/octet-stream",
            "size_bytes": len(content),
            "url": f"{self.home}/files/{file_id}",
        }
        return await self._create(conversation, sender, {"text": text, "attachments": [attachment]}, Forgery())

    async def edit(self, conversation: str, message_id: str, text: str, *, sender: str = "ann") -> Posted:
        """Somebody changes what a message says."""
        if utterance := self.platform.find(conversation, message_id):
            utterance.text = text
        return await self._change("message.edited", conversation, message_id, {"text": text, "sender": _person(sender)})

    async def delete(self, conversation: str, message_id: str, *, sender: str = "ann") -> Posted:
        """Somebody takes a message back."""
        if utterance := self.platform.find(conversation, message_id):
            utterance.deleted = True
        return await self._change("message.deleted", conversation, message_id, {"sender": _person(sender)})

    async def react(
        self, conversation: str, message_id: str, reaction: str, *, removed: bool = False, sender: str = "ann"
    ) -> Posted:
        """Somebody puts a reaction on a message, or takes it back."""
        if utterance := self.platform.find(conversation, message_id):
            (utterance.reactions.remove if removed else utterance.reactions.append)(reaction)
        kind = "reaction.removed" if removed else "reaction.added"
        return await self._change(kind, conversation, message_id, {"reaction": reaction, "sender": _person(sender)})

    async def pin(self, conversation: str, message_id: str) -> Posted:
        """Somebody pins a message."""
        return await self._change("message.pinned", conversation, message_id, {})

    async def repeat(self, posted: simulator.Posted) -> Posted:
        """Deliver the same event again, as platforms do when an answer got lost: same webhook-id, new signature."""
        forgery = Forgery(webhook_id=posted.webhook_id if isinstance(posted, Posted) else "")
        return await self.post(posted.body, forgery, event_id=posted.event_id, message_id=posted.message_id)

    async def post_event(self, event: Mapping[str, Any], *, forgery: Forgery = Forgery()) -> Posted:
        """Post any event, or `{"events": [...]}`, as it is."""
        return await self.post(msgspec.json.encode(event), forgery, event_id=str(event.get("id", "")))

    async def post(
        self, body: bytes, forgery: Forgery = Forgery(), *, event_id: str = "", message_id: str = ""
    ) -> Posted:
        """Sign a body and post it, again and again while there is patience."""
        webhook_id = forgery.webhook_id or self.platform.next_id("hook")
        sent = body if forgery.body is None else forgery.body
        answer = await self._post(lambda _: self.sign(webhook_id, body, forgery), sent, settled=_settled)
        latency_s, attempts = answer.latency_s, answer.attempts
        return Posted(event_id, message_id, answer.status, body, webhook_id, latency_s, attempts, answer.body)

    def sign(self, webhook_id: str, body: bytes, forgery: Forgery = Forgery()) -> dict[str, str]:
        """The headers of a request with this body, forged as told."""
        key = self._keys[1 if forgery.second_secret else 0]
        if forgery.wrong_secret:
            key = webhook_signature.key_from(WRONG_SECRET)
        timestamp = str(int(self.clock.now().timestamp() - forgery.age_s))
        headers = {
            **self.headers,
            "content-type": forgery.content_type,
            "webhook-id": webhook_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": webhook_signature.signature(key, webhook_id, timestamp, body),
        }
        return {name: value for name, value in headers.items() if name not in forgery.without}

    async def _create(self, conversation: str, sender: str, fields: Mapping[str, Any], forgery: Forgery) -> Posted:
        message_id = self.platform.next_id("msg")
        data = {"message_id": message_id, "sender": _person(sender), **fields}
        files = [file["name"] for file in fields.get("attachments", ())]
        text, reply_to = fields["text"], fields.get("reply_to", "")
        self.platform.said(conversation, webhook_platform.Utterance(message_id, sender, text, reply_to, files=files))
        return await self._event("message.created", conversation, data, forgery)

    async def _change(self, kind: str, conversation: str, message_id: str, fields: Mapping[str, Any]) -> Posted:
        return await self._event(kind, conversation, {"message_id": message_id, **fields}, Forgery())

    async def _event(self, kind: str, conversation: str, data: Mapping[str, Any], forgery: Forgery) -> Posted:
        event_id = self.platform.next_id("evt")
        fields = {name: value for name, value in data.items() if value not in ("", None)}
        event = {
            "type": kind,
            "id": event_id,
            "timestamp": self.clock.now().isoformat().replace("+00:00", "Z"),
            "data": {"conversation": conversation, **fields},
        }
        body = msgspec.json.encode(event)
        return await self.post(body, forgery, event_id=event_id, message_id=data["message_id"])


def _settled(status: int) -> bool:
    """Whether posting the same again would change nothing."""
    return status not in (0, 429) and status < 500


def _person(sender: str) -> dict[str, str]:
    return {"id": sender, "display_name": sender.capitalize(), "kind": "person"}


def fresh_secret() -> str:
    """A secret as an account of the simulated platform would be given."""
    return "whsec_" + base64.b64encode(os.urandom(24)).decode("ascii")
