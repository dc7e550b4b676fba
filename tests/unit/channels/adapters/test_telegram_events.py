"""Updates of Telegram are read as what people said and did: recorded ones one by one, and whatever else may come."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors
from penstock.channels import ports
from penstock.channels.adapters import telegram_events, telegram_kinds
from penstock.messages.v1 import message_pb2

RECORDED = Path(__file__).parents[1] / "recorded/telegram"
FILES = sorted(path.name for path in RECORDED.glob("*.json"))
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND = 1772366390

PERSON, BOT, NOBODY = (
    message_pb2.SENDER_KIND_PERSON,
    message_pb2.SENDER_KIND_BOT,
    message_pb2.SENDER_KIND_UNSPECIFIED,
)
ANN = ("5000000101", "Ann Reuß", PERSON)
BEN = ("702", "Ben", PERSON)
BUILDERS = ("-1001600000001", "Builders", PERSON)
CHANNEL = ("-1001600000003", "News of the yard", NOBODY)


def read(body):
    headers = {"content-type": "application/json"}
    return telegram_events.read(ports.WebhookRequest("POST", "/", "", headers, body, NOW))


def reading(name):
    return read((RECORDED / f"{name}.json").read_bytes())


def only(name):
    found = reading(name)
    (message,) = found.messages
    assert (list(found.ignored), list(found.unknown)) == ([], [])
    return message


def sender(message):
    return (message.sender.id, message.sender.display_name, message.sender.kind)


@pytest.mark.parametrize(
    ("name", "event_id", "conversation", "message_id", "who", "text"),
    [
        ("message", "10001/5000000101/11", "5000000101", "11", ANN, "hello, Grüße, 你好 👋🏽 /start"),
        ("message_reply", "10002/-4200/32", "-4200", "32", BEN, "yes"),
        ("message_from_bot", "10003/-4200/33", "-4200", "33", ("900", "Weather", BOT), "It will rain at four."),
        ("message_anonymous_admin", "10004/-1001600000001/34", "-1001600000001", "34", BUILDERS, "Please be quiet."),
        ("message_automatic_forward", "10005/-1001600000001/35", "-1001600000001", "35", CHANNEL, "The yard is open."),
        ("message_ephemeral", "10009/-1001600000001/0", "-1001600000001", "", ANN, "Only for you."),
        ("channel_post", "10010/-1001600000003/8", "-1001600000003", "8", CHANNEL, "The yard is open."),
        ("photo", "10020/5000000101/61", "5000000101", "61", ANN, "The saw"),
        ("sticker", "10024/5000000101/65", "5000000101", "65", ANN, ""),
    ],
)
def test_what_is_said(name, event_id, conversation, message_id, who, text):
    message = only(name)
    assert (message.event_id, message.conversation, message.message_id) == (event_id, conversation, message_id)
    assert (sender(message), message.text) == (who, text)
    assert message.sent_at.ToSeconds() == SECOND


def test_a_reply_names_what_it_answers():
    assert only("message_reply").relation.reply.message_id == "31"


def test_a_topic_is_a_thread_and_standing_in_it_is_no_answer():
    stands, answers = only("message_topic"), only("message_topic_reply")
    assert (stands.thread, stands.HasField("relation")) == ("40", False)
    assert (answers.thread, answers.relation.reply.message_id) == ("40", "41")


def test_replies_to_replies_are_no_thread_where_there_are_no_topics():
    message = only("message_thread_of_replies")
    assert (message.thread, message.relation.reply.message_id) == ("", "51")


@pytest.mark.parametrize(
    ("name", "target", "text"),
    [
        ("edited_message", "11", "hello again"),
        ("edited_caption", "61", "The saw, sharpened"),
        ("edited_channel_post", "8", "The yard is open until six."),
    ],
)
def test_a_new_version_is_an_edit_at_the_time_of_the_edit(name, target, text):
    message = only(name)
    assert (message.relation.edit.message_id, message.message_id, message.text) == (target, "", text)
    assert message.sent_at.ToSeconds() == SECOND


@pytest.mark.parametrize(
    ("name", "file_id", "file_name", "media_type", "size_bytes"),
    [
        ("photo", "AgAClarge", "", "image/jpeg", 98000),
        ("document", "BQACplan", "plan.pdf", "application/pdf", 48213),
        ("voice", "AwACvoice", "", "audio/ogg", 9001),
        ("animation", "CgACwave", "wave.mp4", "video/mp4", 20480),
        ("sticker", "CAACfox", "", "", 15000),
        ("audio", "CQACsong", "song.mp3", "audio/mpeg", 3000000),
        ("video", "BAACclip", "clip.mp4", "video/mp4", 700000),
        ("video_note", "DQACnote", "", "", 400000),
    ],
)
def test_a_file_comes_once_by_its_id_and_never_by_a_url(name, file_id, file_name, media_type, size_bytes):
    message = only(name)
    (file,) = message.attachments
    assert (file.id, file.name, file.media_type, file.size_bytes) == (file_id, file_name, media_type, size_bytes)
    assert file.url == ""
    assert message.attributes["content"] == name


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("message", {"chat_type": "private"}),
        ("channel_post", {"chat_type": "channel", "author_signature": "Cleo"}),
        ("photo", {"chat_type": "private", "content": "photo", "media_group_id": "13500000000000001"}),
        ("venue", {"chat_type": "private", "content": "venue", "title": "The yard", "address": "Ziegelweg 3"}),
        (
            "contact",
            {"chat_type": "private", "content": "contact", "phone_number": "+41445550123", "first_name": "Ben"},
        ),
        ("dice", {"chat_type": "private", "content": "dice", "emoji": "🎲", "value": "4"}),
    ],
)
def test_what_only_telegram_knows_is_an_attribute(name, attributes):
    assert dict(only(name).attributes) == attributes


def test_reactions_that_change_together_are_events_of_their_own():
    messages = reading("reactions_changed").messages
    assert [message.event_id for message in messages] == ["10042/-4200/31.0", "10042/-4200/31.1", "10042/-4200/31.2"]
    gone, heart, picture = (message.relation for message in messages)
    assert (gone.reaction_removed.message_id, gone.reaction_removed.name) == ("31", "👍")
    assert (heart.reaction.message_id, heart.reaction.name) == ("31", "❤")
    assert picture.reaction.name == "custom_emoji:5368324170671202286"
    assert {sender(message) for message in messages} == {ANN}


@pytest.mark.parametrize("name", ["message", "reactions_changed", "unknown_kind", "message_of_unknown_content"])
def test_an_update_of_the_same_number_about_something_else_is_another_event(name):
    body = (RECORDED / f"{name}.json").read_bytes()
    about = json.loads(body)
    (kind,) = about.keys() - {"update_id"}
    elsewhere = {**about, kind: {**about[kind], "chat": {"id": 5000000777}, "call_id": 5000000777}}
    later = {**about, kind: {**about[kind], "message_id": 4_000_000, "call_id": 4_000_000}}
    assert event_ids(body)
    assert not event_ids(body) & event_ids(json.dumps(elsewhere).encode())
    assert not event_ids(body) & event_ids(json.dumps(later).encode())


def test_an_update_that_comes_again_in_other_words_is_the_same_event():
    body = (RECORDED / "message.json").read_bytes()
    again = json.loads(body)
    again["message"]["text"] = "what nobody said"
    assert event_ids(json.dumps(again, indent=2).encode()) == event_ids(body)


def event_ids(body):
    """The ids of all that an update holds."""
    found = read(body)
    return {one.event_id for one in (*found.messages, *found.unknown)}


def test_one_reaction_has_the_id_of_its_update():
    put, gone = only("reaction"), only("reaction_removed")
    assert (put.event_id, put.relation.reaction.name, put.relation.reaction.message_id) == (
        "10040/-4200/31",
        "👍",
        "31",
    )
    assert (gone.event_id, gone.relation.reaction_removed.name) == ("10041/-4200/31", "👍")
    anonymous = only("reaction_anonymous")
    assert (sender(anonymous), anonymous.relation.reaction.name) == (BUILDERS, "paid")


@pytest.mark.parametrize(("name", "target"), [("pinned", "31"), ("pinned_inaccessible", "2")])
def test_a_pin_names_the_message_and_is_none_itself(name, target):
    message = only(name)
    assert (message.relation.pin.message_id, message.message_id, sender(message)) == (target, "", ANN)


@pytest.mark.parametrize(
    ("name", "ignored"),
    [
        ("reaction_unchanged", "message_reaction"),
        ("reaction_count", "message_reaction_count"),
        ("migrated", "message.migrate_to_chat_id"),
        ("migrated_from", "message.migrate_from_chat_id"),
        ("members_joined", "message.new_chat_members"),
        ("callback_query", "callback_query"),
        ("my_chat_member", "my_chat_member"),
    ],
)
def test_what_is_of_no_interest_is_named(name, ignored):
    found = reading(name)
    assert (list(found.messages), list(found.ignored), list(found.unknown)) == ([], [ignored], [])


@pytest.mark.parametrize(
    ("name", "event_id", "kind"),
    [
        ("unknown_kind", "10070/83fb21223d3d08f0", "hologram_call"),
        ("message_of_unknown_content", "10031/5000000101/72", "message.hologram"),
    ],
)
def test_what_nobody_has_heard_of_is_kept_as_it_came(name, event_id, kind):
    found = reading(name)
    assert (list(found.messages), list(found.ignored)) == ([], [])
    assert list(found.unknown) == [ports.UnknownEvent(event_id, kind, (RECORDED / f"{name}.json").read_bytes())]


def test_a_strange_name_of_a_kind_is_safe_to_store_and_show():
    (kept,) = read(json.dumps({"update_id": 1, "x\n\u202e" * 500: {}}).encode()).unknown
    assert kept.kind.isascii()
    assert kept.kind.isprintable()
    assert len(kept.kind) == 100


def test_long_names_are_cut_and_not_refused():
    long = "n" * 5000
    said = json.loads((RECORDED / "document.json").read_bytes())
    said["message"]["from"]["first_name"] = said["message"]["document"]["file_name"] = long
    (message,) = read(json.dumps(said).encode()).messages
    assert (len(message.sender.display_name), len(message.attachments[0].name)) == (256, 256)


def test_every_recorded_file_is_in_its_readme_and_is_tested_here():
    named = (RECORDED / "README.md").read_text("utf-8")
    assert [name for name in FILES if f"`{name}`" not in named] == []
    here = Path(__file__).read_text("utf-8")
    assert [name for name in FILES if f'"{name.removesuffix(".json")}"' not in here] == []


def test_what_is_read_is_not_also_what_is_ignored():
    read_kinds = telegram_kinds.SAID | telegram_kinds.EDITED | {telegram_kinds.REACTED}
    assert not read_kinds & telegram_kinds.UNINTERESTING
    content = {*telegram_kinds.FILES, *telegram_kinds.CONTENT, "photo", "text", telegram_kinds.PINNED}
    assert not content & telegram_kinds.SERVICE
    assert not (content | telegram_kinds.SERVICE) & telegram_kinds.PLAIN


# Any JSON under any of the names that are read, so that the fuzz gets past the first look.
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
names = st.text(max_size=8) | st.sampled_from(
    ["message_id", "date", "chat", "from", "id", "text", "caption", "photo", "document", "file_id", "type"]
)
documents = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=6))
kinds = st.sampled_from(["message", "edited_message", "channel_post", "message_reaction", "callback_query", "x"])


def settled(body):
    """A reading or a refusal that names a field: nothing else may come of it."""
    found = attempt(body)
    if isinstance(found, errors.Rejected):
        assert 400 <= found.status < 500
        assert found.field
        assert len(str(found)) < 1000
        return
    for message in found.messages:
        assert message.event_id
        assert message.conversation
        assert message.FromString(message.SerializeToString()) == message


def attempt(body):
    try:
        return read(body)
    except errors.Rejected as refused:
        return refused


@given(update=st.dictionaries(kinds, documents, max_size=2), update_id=documents | st.integers(0, 10**9))
def test_any_json_is_read_or_refused_by_name(update, update_id):
    settled(json.dumps({"update_id": update_id, **update}).encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_by_name(body):
    settled(body)


@given(name=st.sampled_from(FILES), data=st.data())
def test_no_beginning_of_an_update_is_read(name, data):
    body = (RECORDED / name).read_bytes().rstrip()
    cut = body[: data.draw(st.integers(0, len(body) - 1))]
    with pytest.raises(errors.Rejected):
        read(cut)


@given(name=st.sampled_from(FILES), value=leaves, data=st.data())
def test_a_field_of_another_type_is_read_or_refused_by_name(name, value, data):
    update = json.loads((RECORDED / name).read_bytes())
    steps = data.draw(st.sampled_from(sorted(paths(update))))
    inside = update
    for step in steps[:-1]:
        inside = inside[step]
    inside[steps[-1]] = value
    settled(json.dumps(update).encode())


def paths(value, before=()):
    """The steps to every value in a document."""
    found = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in items:
        found += [(*before, step), *paths(inner, (*before, step))]
    return [steps for steps in found if all(isinstance(step, str) for step in steps)]


@pytest.mark.parametrize("number", ["1e999", "1" * 5000])
def test_a_number_out_of_range_is_refused_and_no_fault_of_ours(number):
    where = f'{{"latitude": {number}, "longitude": 1}}'
    body = f'{{"update_id": 1, "message": {{"message_id": 1, "date": 1, "chat": {{"id": 1}}, "location": {where}}}}}'
    with pytest.raises(errors.Rejected) as caught:
        read(body.encode())
    assert (caught.value.code, caught.value.status) == ("bad_event", 400)
