"""Events of strangers are read whole or refused by name: no bytes do anything else."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors, settings
from penstock.channels import ports
from penstock.channels.adapters import webhook_events
from penstock.channels.testing import webhook_trial
from penstock.messages.v1 import message_pb2

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECRET = settings.Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
ANN = {"id": "ann"}
DATA = {"conversation": "room", "message_id": "m-1", "sender": ANN, "text": "hello"}
SOUND = {"type": "message.created", "id": "evt-1", "data": DATA}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def read(body, **headers):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = webhook_trial.sign(raw, SECRET, NOW)
    request.headers.update(headers)
    return webhook_events.read(request)


def refusal(body):
    with pytest.raises(errors.Rejected) as caught:
        read(body)
    assert caught.value.detail
    return caught.value.field


def changed(path, value):
    """A sound event with one value replaced; `...` removes it."""
    event = json.loads(json.dumps(SOUND))
    event["data"]["attachments"] = [{"url": "https://example.org/f", "name": "f"}]
    event["data"]["attributes"] = {"colour": "blue"}
    place = event
    for step in path[:-1]:
        place = place[step]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return event


@given(st.binary(max_size=300))
def test_no_bytes_do_anything_but_read_or_be_refused(raw):
    check_outcome(raw)


@given(json_values)
def test_no_json_does_anything_but_read_or_be_refused(value):
    check_outcome(json.dumps(value).encode())


@given(
    kind=st.sampled_from([*webhook_events._READERS, "unknown"]),
    fields=st.dictionaries(
        st.sampled_from([*DATA, "thread", "reply_to", "reaction", "attachments", "attributes"]), json_values, max_size=4
    ),
    timestamp=json_values | st.datetimes().map(datetime.isoformat) | st.just("9999-12-31T23:59:59-12:00"),
    event_id=json_values,
)
def test_no_fields_of_an_event_do_anything_but_read_or_be_refused(kind, fields, timestamp, event_id):
    event = {"type": kind, "id": event_id, "timestamp": timestamp, "data": {**DATA, "reaction": "+", **fields}}
    check_outcome(json.dumps(event).encode())


@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=3))
def test_no_damage_does_anything_but_read_or_be_refused(position, damage):
    raw = bytearray(json.dumps({"events": [SOUND, {**SOUND, "id": "evt-2"}]}).encode())
    place = position % len(raw)
    raw[place : place + len(damage)] = damage
    check_outcome(bytes(raw))


def check_outcome(raw):
    try:
        reading = read(raw)
    except errors.Rejected as error:
        check_refusal(error)
        return
    assert isinstance(reading, ports.Reading)
    for message in reading.messages:
        assert message.event_id
        assert message.conversation
        assert "\0" not in message.event_id + message.conversation + message.text + message.sender.id
        message.sent_at.ToDatetime()
        assert message_pb2.Message.FromString(message.SerializeToString()) == message


def check_refusal(error):
    assert 400 <= error.status < 500
    assert error.status != 401
    assert error.field


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (["type"], "", "type"),
        (["type"], "a b", "type"),
        (["type"], "x" * 101, "type"),
        (["type"], ..., "type"),
        (["type"], None, "type"),
        (["id"], "", "id"),
        (["id"], 5, "id"),
        (["id"], "a\0", "id"),
        (["timestamp"], "yesterday", "timestamp"),
        (["timestamp"], "2026-03-01T12:00:00", "timestamp"),
        (["timestamp"], "1969-12-31T23:59:59Z", "timestamp"),
        (["timestamp"], 5, "timestamp"),
        (["data"], ..., "data.conversation"),
        (["data"], [], "data"),
        (["data", "conversation"], ..., "data.conversation"),
        (["data", "conversation"], "", "data.conversation"),
        (["data", "conversation"], "x" * 257, "data.conversation"),
        (["data", "message_id"], ..., "data.message_id"),
        (["data", "sender"], ..., "data.sender"),
        (["data", "sender", "id"], "", "data.sender.id"),
        (["data", "text"], "x" * 40_001, "data.text"),
        (["data", "text"], "a\0b", "data.text"),
        (["data", "text"], "a\ud800b", "data.text"),
        (["data", "thread"], 7, "data.thread"),
        (["data", "attachments"], [{"url": "https://x.y"}] * 21, "data.attachments"),
        (["data", "attachments", 0, "url"], "javascript:alert(1)", "data.attachments[0].url"),
        (["data", "attachments", 0, "url"], "https://x.y/\n", "data.attachments[0].url"),
        (["data", "attachments", 0, "size_bytes"], -1, "data.attachments[0].size_bytes"),
        (["data", "attachments", 0, "name"], "a\0", "data.attachments[0].name"),
        (["data", "attributes"], {str(number): "" for number in range(33)}, "data.attributes"),
        (["data", "attributes", "colour"], 5, "data.attributes[...]"),
        (["data", "attributes", "colour"], "x" * 1025, "data.attributes[...]"),
        (["data", "attributes", "a\0"], "x", "data.attributes.a\\x00"),
        (["unknown"], "a\0", "unknown"),
    ],
)
def test_what_is_wrong_is_named(path, value, field):
    assert refusal(changed(path, value)) == field


def test_in_a_batch_the_event_is_named_too():
    assert refusal({"events": [SOUND, changed(["data", "text"], 5)]}) == "events[1].data.text"
    assert refusal({"events": [SOUND, SOUND]}) == "events[1].id"
    assert refusal({"events": []}) == "events"
    assert refusal({"events": [SOUND] * 101}) == "events"
    assert refusal({"events": [{"id": "x"}]}) == "events[0].type"


@pytest.mark.parametrize("raw", [b"\xff", b'{"type":"\xff"}', b"\xef\xbb\xbf{}", b'{"a":"\xed\xa0\x80"}'])
def test_what_is_not_utf8_json_is_refused(raw):
    assert refusal(raw) in {"body", "type", "a"}


@pytest.mark.parametrize("kind", ["message.created", "unknown"])
def test_deep_documents_are_refused_wherever_the_depth_is(kind):
    for depth, good in ((20, True), (40, False), (100_000, False)):
        nested = b"[" * depth + b"]" * depth
        data = json.dumps(DATA).encode()[:-1] + b',"new":' + nested + b"}"
        raw = b'{"type":"%b","id":"e","data":%b}' % (kind.encode(), data)
        if good:
            read(raw)
        else:
            assert refusal(raw) == "body"


def test_brackets_in_texts_are_not_depth():
    (message,) = read(changed(["data", "text"], "[" * 5000 + '{"\\"' * 100)).messages
    assert message.text.startswith("[[[")


def test_a_document_of_very_many_parts_is_refused():
    assert refusal(b'{"type":"unknown","data":[' + b"[]," * 20_001 + b"1]}") == "body"


def test_a_body_over_the_limit_is_413():
    with pytest.raises(errors.Rejected) as caught:
        read(b" " * (webhook_events.BODY_BYTES + 1))
    assert caught.value.status == 413


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8", "application/x+json"])
def test_json_by_any_of_its_names_is_read(content_type):
    assert read(SOUND, **{"content-type": content_type}).messages


def test_an_escaped_backslash_before_u0000_is_no_nul():
    (message,) = read(changed(["data", "text"], "a\\u0000b")).messages
    assert message.text == "a\\u0000b"


def test_surrogate_pairs_are_characters():
    raw = json.dumps(changed(["data", "text"], "👍")).encode()
    assert b"\\ud83d" in raw
    (message,) = read(raw).messages
    assert message.text == "👍"


def test_an_event_without_an_id_or_a_time_has_those_of_the_delivery():
    (message,) = read({"type": "message.created", "data": DATA}, **{"webhook-id": "msg_1"}).messages
    assert message.event_id == "msg_1"
    assert message.sent_at.ToDatetime(UTC) == NOW
    event = {"type": "message.created", "data": DATA}
    first, second = read({"events": [event, event]}, **{"webhook-id": "msg_1"}).messages
    assert (first.event_id, second.event_id) == ("msg_1.0", "msg_1.1")
    (only,) = read({"events": [event]}, **{"webhook-id": "msg_1"}).messages
    assert only.event_id == "msg_1"


def test_unknown_kinds_of_sender_and_unknown_fields_are_no_fault():
    event = changed(["data", "sender"], {"id": "x", "kind": "alien", "new": {}})
    (message,) = read({**event, "new": [1]}).messages
    assert message.sender.kind == message_pb2.SENDER_KIND_UNSPECIFIED


def test_unknown_types_are_reported_and_the_rest_is_read():
    reading = read({"events": [{"type": "call.started", "data": 5}, SOUND, {"type": "call.ended", "id": "evt-1"}]})
    assert [(one.kind, json.loads(one.body)) for one in reading.unknown] == [
        ("call.started", {"type": "call.started", "data": 5}),
        ("call.ended", {"type": "call.ended", "id": "evt-1"}),
    ]
    assert [message.event_id for message in reading.messages] == ["evt-1"]
    assert not reading.ignored


def test_unknown_events_of_one_request_have_ids_of_their_own_that_stay():
    event = {"type": "call.started"}
    ids = [one.event_id for one in read({"events": [event, {**event, "id": "c"}, event, {**event, "id": "c"}]}).unknown]
    assert len(set(ids)) == 4
    assert ids[1] == "c"
    assert ids == [one.event_id for one in read({"events": [event, {**event, "id": "c"}] * 2}).unknown]
    (alone,) = read({**event, "data": {"deep": [1]}}).unknown
    assert json.loads(alone.body) == {**event, "data": {"deep": [1]}}
