"""Reads what a Cliq bot's handlers post: messages to the bot, mentions of it, and what happens in its channels.

Sources: the pages of the handlers below https://www.zoho.com/cliq/help/platform/bot-handlers.html and the samples of
Zoho's `zcatalyst-cli`. Strict where we know a field, patient where the documentation is silent or contradicts itself.
What an app sees of it all is told in `docs/how-to/channel-cliq.md`.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from penstock.base import errors
from penstock.channels import ports
from penstock.channels.adapters import cliq_fields, cliq_places, json_body
from penstock.messages.v1 import message_pb2

MESSAGE: Final = "message_handler"
MENTION: Final = "mention_handler"
PARTICIPATION: Final = "participation_handler"

IGNORED: Final = frozenset(
    {
        "after_send_handler",
        "call_handler",
        "form_change_handler",
        "form_values_handler",
        "form_view_handler",
        "incomingwebhook_handler",
        "installation_handler",
        "installation_validator",
        "menu_handler",
        "preview_handler",
        "suggestion_handler",
        "uninstallation_handler",
        "view_handler",
        "welcome_handler",
    }
)
"""Handlers that are told nothing that anybody said: Cliq wants to know how something looks, or somebody came."""

IGNORED_OPERATIONS: Final = frozenset(
    {
        "added",
        "added_in_thread",
        "auto_followed_thread",
        "removed",
        "removed_from_thread",
        "thread_closed",
        "thread_reopened",
    }
)
"""What happens to a bot in a channel, and to threads."""

_SENT: Final = "message_sent"
_EDITED: Final = "message_edited"
_DELETED: Final = "message_deleted"
_BOT_CHAT: Final = re.compile(r".*-B[0-9]*")
_THREAD: Final = re.compile(r"(?P<chat>.+)-T-[0-9]+")
_URL: Final = re.compile(r"https?://[!-~]+")
_NOBODY: Final = cliq_fields.Access()
_NOTHING: Final = cliq_fields.Said()


def read(request: ports.WebhookRequest, account: ports.Account) -> ports.Reading:
    """What a verified request holds. Raises Rejected (400, 413, 415) naming the field and the rule.

    What the account's `owner` says outside of direct messages was said by the bot, which speaks in that person's name.
    """
    envelope = json_body.read(_envelope, request)
    kind = envelope.handler.type
    if kind in IGNORED:
        return ports.Reading(ignored=(kind,))
    if kind not in (MESSAGE, MENTION, PARTICIPATION):
        return _unknown(request, kind)
    params = json_body.fields(_params, envelope.params, "params")
    operation = _SENT
    if kind == PARTICIPATION:
        if params.operation is None:
            raise _missing("params.operation")
        operation, kind = params.operation, f"{kind}.{params.operation}"
    if operation in IGNORED_OPERATIONS:
        return ports.Reading(ignored=(kind,))
    event = _Event(envelope, params)
    if operation == _SENT:
        return ports.Reading((event.new(account.config.get("owner", "")),))
    # An edit or a deletion that does not say of what is of no use to anybody yet.
    if operation not in (_EDITED, _DELETED) or not event.message_id:
        return _unknown(request, kind)
    return ports.Reading((event.change(account.config.get("owner", ""), deleted=operation == _DELETED),))


class _Event:
    """One event, whichever handler it came through."""

    def __init__(self, envelope: cliq_fields.Envelope, params: cliq_fields.Params) -> None:
        details = params.data or params.message_details or cliq_fields.Details()
        inner = details.message or _NOTHING
        whole = params.message if isinstance(params.message, cliq_fields.Said) else inner
        self._params, self._said = params, whole
        self._access = params.access or _NOBODY
        self._text = params.message if isinstance(params.message, str) else ""
        self._stamp = _millis(envelope.timestamp)
        self._sent_ms = _millis(whole.time) or _millis(details.time) or self._stamp
        if not self._sent_ms:
            raise _missing("timestamp")
        # The message handler shows a reply in its details, and the text beside them.
        self._replied = whole.replied_message or inner.replied_message
        self.message_id = whole.id or inner.id or self._access.message_id or ""
        self._user = params.user or whole.sender
        self._thread = ""
        self._place = self._find_place(is_direct=envelope.handler.type == MESSAGE)

    def new(self, owner: str) -> message_pb2.Message:
        """Somebody said something. Its place is its event id: a mention in a channel may be told of twice."""
        message = self._message(owner)
        message.message_id = self.message_id
        message.text = self._said_text()
        self._attach(message)
        if self._replied and self._replied.id:
            message.relation.reply.message_id = self._replied.id
        if self.message_id:
            message.event_id = f"{self._chat}/{self.message_id}"
        else:
            files = [file.id or file.name for file in message.attachments]
            message.event_id = _derived("said", self._chat, message.sender.id, self._sent_ms, message.text, *files)
        return message

    def change(self, owner: str, *, deleted: bool) -> message_pb2.Message:
        """Somebody changed what a message says, or took it back, which can be done once only."""
        message = self._message(owner)
        if deleted:
            message.relation.deletion.message_id = self.message_id
            message.event_id = _derived("deleted", self._chat, self.message_id)
        else:
            message.relation.edit.message_id = self.message_id
            message.text = self._said_text()
            # A message may say the same twice, with something else between: so this moment belongs to the id.
            moments = (self._sent_ms, self._stamp)
            message.event_id = _derived("edited", self._chat, self.message_id, *moments, message.text)
        return message

    @property
    def _chat(self) -> str:
        """The chat, or the thread, that the message is in."""
        return self._thread or self._place.chat

    def _find_place(self, *, is_direct: bool) -> cliq_places.Place:
        chat = self._params.chat
        accessed = self._access.chat_id or ""
        found = chat.id if chat else accessed
        if is_direct and _BOT_CHAT.fullmatch(accessed):
            found = accessed
        if not found:
            raise _missing("params.chat")
        user = str(self._user.id) if self._user else ""
        if _BOT_CHAT.fullmatch(found) or (chat and "bot" in (chat.type, chat.chat_type)):
            return cliq_places.Place(found, person=user if cliq_places.is_person(user) else "")
        name = chat.channel_unique_name if chat else None
        if thread := _THREAD.fullmatch(found):
            self._thread, found = found, self._access.parent_chat_id or thread["chat"]
            if chat and chat.parent_resource:
                found, name = chat.parent_resource.id, chat.parent_resource.channel_unique_name
        return cliq_places.Place(found, channel=name if name and cliq_places.is_channel(name) else "")

    def _message(self, owner: str) -> message_pb2.Message:
        """What every event has: where, when, who, and whose network it is."""
        message = message_pb2.Message(conversation=str(self._place), thread=self._thread)
        seconds, millis = divmod(self._sent_ms, 1000)
        message.sent_at.seconds, message.sent_at.nanos = seconds, millis * 1_000_000
        if self._user is not None:
            user, sender = str(self._user.id), message.sender
            is_bot = user.startswith("b-") or (user == owner and not self._place.person)
            sender.id = user
            sender.kind = message_pb2.SENDER_KIND_BOT if is_bot else message_pb2.SENDER_KIND_PERSON
            full = f"{self._user.first_name or ''} {self._user.last_name or ''}".strip()
            sender.display_name = self._user.name or full
        organization = self._access.organization
        if organization is not None and organization.id is not None:
            message.attributes["organization_id"] = str(organization.id)
        return message

    def _said_text(self) -> str:
        """What was said; of a file, what was said about it."""
        said = self._said
        content = said.content if isinstance(said.content, cliq_fields.Content) else cliq_fields.Content()
        plain = said.content if isinstance(said.content, str) else content.text
        text = self._text or said.text or plain
        if text or not self._files():
            return text or ""
        return said.comment or content.comment or ""

    def _files(self) -> Sequence[cliq_fields.File]:
        """Those in `attachments`, else the message's own: they are the same."""
        if self._params.attachments:
            return self._params.attachments
        content = self._said.content.file if isinstance(self._said.content, cliq_fields.Content) else None
        file = self._said.file if isinstance(self._said.file, cliq_fields.File) else content
        return [file] if isinstance(file, cliq_fields.File) else []

    def _attach(self, message: message_pb2.Message) -> None:
        for file in self._files():
            url = file.url or ""
            media_type = file.contenttype or file.type or ""
            message.attachments.add(
                id=file.id or "",
                name=file.name or "",
                media_type=media_type if "/" in media_type else "",
                size_bytes=(file.dimensions.size or 0) if file.dimensions else 0,
                url=url if _URL.fullmatch(url) else "",
            )


def _derived(kind: str, *parts: object) -> str:
    """An id of an event that Cliq gave none: the same whenever these are."""
    content = msgspec.json.encode([str(part) for part in parts])
    return f"{kind}-{hashlib.sha256(content).hexdigest()[:40]}"


def _unknown(request: ports.WebhookRequest, kind: str) -> ports.Reading:
    event_id = f"body-{hashlib.sha256(request.body).hexdigest()[:40]}"
    return ports.Reading(unknown=(ports.UnknownEvent(event_id, kind, request.body),))


def _millis(value: int | str | None) -> int:
    return int(value or 0)


def _missing(field: str) -> errors.Rejected:
    return errors.Rejected("bad_event", f"{field} is missing", field=field)


_envelope: Final = msgspec.json.Decoder(cliq_fields.Envelope)
_params: Final = msgspec.json.Decoder(cliq_fields.Params)
