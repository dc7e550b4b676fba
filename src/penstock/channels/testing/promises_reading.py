"""Promises of `Channel.read`: what was signed is read whole or refused by name, and never chooses whose it is."""

import dataclasses
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final

from penstock.base import errors, ids
from penstock.channels import ports
from penstock.channels.model import event
from penstock.channels.testing import trial
from penstock.messages.v1 import message_pb2


def reads_good_requests(described: trial.Trial) -> None:
    """Every good request is verified and read as the messages that are in it."""
    for name, good in described.requests.good.items():
        reading = _read(described, good.body)
        assert list(reading.messages) == list(good.messages), f"{name}: read {reading.messages!r}"
        assert reading.answer.status < 300, f"{name}: the platform would hear {reading.answer.status}"


def reads_complete_messages(described: trial.Trial) -> None:
    """A message has an event id, a conversation and a time; tenant, channel, account and receipt are left to us."""
    for name, message in _messages(described):
        assert message.event_id, f"{name}: no event_id"
        assert message.conversation, f"{name}: no conversation"
        assert message.HasField("sent_at"), f"{name}: no sent_at"
        for field in ("tenant", "channel", "account"):
            assert not getattr(message, field), f"{name}: the adapter chose the {field}"
        assert not message.HasField("received_at"), f"{name}: the adapter chose received_at"
        assert message.FromString(message.SerializeToString()) == message, f"{name}: it does not survive the wire"


def reads_nothing_by_account(described: trial.Trial) -> None:
    """The same request reads the same twice, also for another account: a reading depends on the request alone."""
    other = dataclasses.replace(described.account, tenant=ids.TenantId("somebody-else"), id=ids.AccountId("acc-other"))
    for name, good in described.requests.good.items():
        request = described.requests.sign(good.body, described.secrets[0], trial.NOW)
        first = described.channel.read(request, described.account)
        again = described.channel.read(request, described.account)
        elsewhere = described.channel.read(request, other)
        assert first == again == elsewhere, f"{name}: it reads differently"


def gives_each_event_its_own_id(described: trial.Trial) -> None:
    """An edit, a deletion, a reaction and a pin each have an event id of their own, never that of the message."""
    seen: dict[str, str] = {}
    for name, message in _messages(described):
        assert message.event_id not in seen, f"{name} has the event id of {seen[message.event_id]}"
        seen[message.event_id] = name


def keeps_event_id_when_delivered_again(described: trial.Trial) -> None:
    """Delivered again a minute later, signed anew, an event has the same id: so it can be recognised."""
    later = trial.NOW + timedelta(minutes=1)
    for name, good in described.requests.good.items():
        request = described.requests.sign(good.body, described.secrets[0], later)
        events = [message.event_id for message in described.channel.read(request, described.account).messages]
        assert events == [message.event_id for message in good.messages], f"{name}: other ids"


def reads_plain_messages(described: trial.Trial) -> None:
    """A plain message has an id, a text, a sender, and does nothing to another one."""
    message = _only(described, "message")
    assert message.message_id, "no message_id"
    assert message.text, "no text"
    assert message.sender.id, "no sender"
    assert not message.HasField("relation"), "it has a relation"


def reads_replies(described: trial.Trial) -> None:
    """A reply names the message that it answers and has an id of its own."""
    message = _only(described, "reply")
    assert message.message_id, "no message_id"
    assert message.relation.reply.message_id, "no target"


def reads_edits(described: trial.Trial) -> None:
    """An edit names the message whose text it replaces."""
    _check_target(described, "edit")


def reads_deletions(described: trial.Trial) -> None:
    """A deletion names the message that was taken back."""
    _check_target(described, "deletion")


def reads_reactions(described: trial.Trial) -> None:
    """A reaction names the message and what was put on it."""
    assert _check_target(described, "reaction").relation.reaction.name, "no name"


def reads_removed_reactions(described: trial.Trial) -> None:
    """A reaction that was taken back names the message and what was taken from it."""
    assert _check_target(described, "reaction_removed").relation.reaction_removed.name, "no name"


def reads_pins(described: trial.Trial) -> None:
    """A pin names the message."""
    _check_target(described, "pin")


def reads_attachments(described: trial.Trial) -> None:
    """A file comes by reference: where it is, or its id; nothing has been fetched."""
    files = _only(described, "attachment").attachments
    assert files, "no attachment"
    assert all(file.url or file.id for file in files), "neither URL nor id"
    assert not any(file.vault_key or file.sha256 for file in files), "the adapter says that it was fetched"


def names_what_is_uninteresting(described: trial.Trial) -> None:
    """An event of a kind that is known to carry no message is accepted and named, and kept nowhere."""
    assert described.requests.ignored, "the trial shows no event of a kind that is of no interest; excuse it if none is"
    for name, body in described.requests.ignored.items():
        reading = _read(described, body)
        assert not reading.messages, f"{name}: it was read as {reading.messages!r}"
        assert reading.ignored, f"{name}: nobody says what it was"
        assert not reading.unknown, f"{name}: it is kept as unknown: {[one.kind for one in reading.unknown]}"


def keeps_what_it_does_not_know(described: trial.Trial) -> None:
    """An event of an unknown kind is accepted, named, and handed over as it came, under an id that stays the same."""
    assert described.requests.unknown, "the trial shows no event of an unknown kind"
    for name, body in described.requests.unknown.items():
        reading = _read(described, body)
        assert not reading.messages, f"{name}: it was read as {reading.messages!r}"
        assert reading.unknown, f"{name}: nothing of it is kept"
        again = described.requests.sign(body, described.secrets[0], trial.NOW + timedelta(minutes=1))
        assert reading.unknown == described.channel.read(again, described.account).unknown, (
            f"{name}: it reads differently"
        )
        ids_of = [one.event_id for one in reading.unknown]
        assert len(set(ids_of)) == len(ids_of), f"{name}: two of its events have one id"
        for one in reading.unknown:
            assert one.kind, f"{name}: nobody says what it was"
            assert one.body and one.body in body, f"{name}: what is kept is not what came"
            assert 0 < len(one.event_id.encode()) <= event.ID_BYTES, f"{name}: its id cannot be stored"


def refuses_malformed_bodies(described: trial.Trial) -> None:
    """A signed body that breaks a rule is refused as the sender's fault, naming field and rule: never an accident."""
    assert len(described.requests.malformed) >= 5, "the trial shows too few malformed bodies"
    for name, body in described.requests.malformed.items():
        request = described.requests.sign(body, described.secrets[0], trial.NOW)
        described.channel.verify(request, ports.Credentials(described.secrets))
        _check_refusal(described, name, request)


def refuses_every_truncation(described: trial.Trial) -> None:
    """No beginning of a good body is read: a request is taken whole or not at all."""
    for name, good in described.requests.good.items():
        for length in range(0, len(good.body), max(1, len(good.body) // 40)):
            request = described.requests.sign(good.body[:length], described.secrets[0], trial.NOW)
            _check_refusal(described, f"the first {length} bytes of {name}", request)


def refuses_wrong_content_type(described: trial.Trial) -> None:
    """A body that says it is something else is refused."""
    request = described.requests.sign(_first(described).body, described.secrets[0], trial.NOW)
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "image/png", "\xff"):
        headers = {**request.headers, "content-type": content_type}
        _check_refusal(described, content_type, dataclasses.replace(request, headers=headers))


def refuses_bad_configs(described: trial.Trial) -> None:
    """A configuration that cannot work is refused naming the field; the account's own is accepted."""
    described.channel.check_config(described.account.config)
    for name, config in described.bad_configs.items():
        try:
            described.channel.check_config(config)
        except errors.Rejected as error:
            assert error.field, f"{name}: the refusal names no field"
            continue
        raise AssertionError(f"{name}: it was accepted")


def _first(described: trial.Trial) -> trial.Good:
    return next(iter(described.requests.good.values()))


def _read(described: trial.Trial, body: bytes) -> ports.Reading:
    request = described.requests.sign(body, described.secrets[0], trial.NOW)
    described.channel.verify(request, ports.Credentials(described.secrets))
    return described.channel.read(request, described.account)


def _messages(described: trial.Trial) -> Iterator[tuple[str, message_pb2.Message]]:
    for name, good in described.requests.good.items():
        for message in _read(described, good.body).messages:
            yield name, message


def _only(described: trial.Trial, kind: str) -> message_pb2.Message:
    assert kind in described.requests.good, f"the trial shows no '{kind}'; excuse the promise if there is none"
    (message,) = _read(described, described.requests.good[kind].body).messages
    return message


def _check_target(described: trial.Trial, kind: str) -> message_pb2.Message:
    message = _only(described, kind)
    found = message.relation.WhichOneof("kind")
    assert found == kind, f"it was read as {found}"
    assert getattr(message.relation, kind).message_id, "no target"
    assert not message.message_id, "it creates no message, so message_id must be empty"
    return message


def _check_refusal(described: trial.Trial, name: str, request: ports.WebhookRequest) -> None:
    try:
        described.channel.read(request, described.account)
    except errors.Rejected as error:
        assert 400 <= error.status < 500, f"{name}: refused with status {error.status}"
        assert error.status != 401, f"{name}: the signature was good, so 401 misleads"
        assert error.detail and error.field, f"{name}: the refusal names no field or no rule"
        assert len(str(error)) < 1000, f"{name}: the refusal quotes the body"
    else:
        raise AssertionError(f"{name}: it was read")


PROMISES: Final[tuple[Callable[[trial.Trial], None], ...]] = (
    reads_good_requests,
    reads_complete_messages,
    reads_nothing_by_account,
    gives_each_event_its_own_id,
    keeps_event_id_when_delivered_again,
    reads_plain_messages,
    reads_replies,
    reads_edits,
    reads_deletions,
    reads_reactions,
    reads_removed_reactions,
    reads_pins,
    reads_attachments,
    names_what_is_uninteresting,
    keeps_what_it_does_not_know,
    refuses_malformed_bodies,
    refuses_every_truncation,
    refuses_wrong_content_type,
    refuses_bad_configs,
)
