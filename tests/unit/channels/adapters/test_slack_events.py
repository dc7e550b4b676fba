"""What Slack's documentation shows is read whole; nothing else does anything but be read, kept or refused by name."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors
from penstock.channels import ports
from penstock.channels.adapters import slack_events, slack_kinds
from penstock.channels.testing import slack_trial
from penstock.messages.v1 import message_pb2

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RECORDED = Path(__file__).parents[1] / "recorded" / "slack"
POSTED = sorted(path.stem for path in RECORDED.glob("*.json") if not path.stem.startswith("answer_"))
ROOM, ROOT = "C0GREENHS", "1772366399.250019"
ROSE, BASIL, US = "U0ROSE001", "U0BASIL02", "U0WATERER"
PERSON, BOT = message_pb2.SENDER_KIND_PERSON, message_pb2.SENDER_KIND_BOT

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def recorded(name):
    return (RECORDED / f"{name}.json").read_bytes()


def read(body, content_type="application/json"):
    request = ports.WebhookRequest("POST", "/", "", {"content-type": content_type}, body, NOW)
    return slack_events.read(request)


def message(name):
    (found,) = read(recorded(name)).messages
    return found


def test_every_recorded_payload_names_its_page():
    page = (RECORDED / "README.md").read_text("utf-8")
    files = {path.name for path in RECORDED.iterdir()} - {"README.md"}
    assert {name for name in files if f"`{name}`" not in page} == set()


@pytest.mark.parametrize(
    ("name", "event_id", "text", "sender", "kind", "thread"),
    [
        ("message", ROOT, "Is 3 < 5 & are the tulips — watered? 🌷", ROSE, PERSON, ""),
        ("message_in_thread", "1772366420.000200", "yes, all of them", BASIL, PERSON, ROOT),
        ("thread_broadcast", "1772366430.000300", "everybody: they are watered", BASIL, PERSON, ROOT),
        ("me_message", "1772366440.000400", "fetches the hose", BASIL, PERSON, ""),
        ("bot_message", "1772366450.000500", "Rain at weather.example/now", "B0WEATHER", BOT, ""),
        ("message_by_app", "1772366460.000600", "Watered at noon.", US, BOT, ""),
        ("file_share", "1772366471.000086", "the beds", ROSE, PERSON, ""),
    ],
)
def test_what_is_said_is_read(name, event_id, text, sender, kind, thread):
    said = message(name)
    assert (said.event_id, said.message_id, said.conversation) == (f"{ROOM}/{event_id}", event_id, ROOM)
    assert (said.text, said.sender.id, said.sender.kind) == (text, sender, kind)
    assert (said.thread, said.relation.reply.message_id) == (thread, thread)
    assert said.sent_at.ToNanoseconds() == int(event_id.replace(".", "")) * 1000
    assert dict(said.attributes)["team_id"] == "T0GARDEN1"
    assert dict(said.attributes)["bot_user_id"] == US


@pytest.mark.parametrize(
    ("name", "kind", "target", "text", "sender", "thread", "at"),
    [
        ("message_changed", "edit", ROOT, "are the tulips & the roses watered?", ROSE, "", "1772366480.000700"),
        ("message_changed_bare", "edit", ROOT, "never mind", ROSE, "", "1772366481.000001"),
        ("message_changed_tombstone", "deletion", ROOT, "", ROSE, "", "1772366483.000700"),
        ("message_deleted", "deletion", "1772366420.000200", "", BASIL, ROOT, "1772366490.000800"),
        ("message_deleted_bare", "deletion", ROOT, "", "", "", "1772366491.000800"),
        ("reaction_added", "reaction", ROOT, "", BASIL, "", "1772366510.083113"),
        ("reaction_removed", "reaction_removed", ROOT, "", BASIL, "", "1772366511.083113"),
        ("pin_added", "pin", ROOT, "", ROSE, "", "1772366520.083113"),
    ],
)
def test_what_is_done_to_a_message_is_read(name, kind, target, text, sender, thread, at):
    done = message(name)
    assert done.relation.WhichOneof("kind") == kind
    assert getattr(done.relation, kind).message_id == target
    assert (done.event_id, done.message_id) == (json.loads(recorded(name))["event_id"], "")
    assert (done.text, done.sender.id, done.thread, done.conversation) == (text, sender, thread, ROOM)
    assert done.sent_at.ToNanoseconds() == int(at.replace(".", "")) * 1000


def test_reactions_are_characters_where_there_is_one_and_keep_their_name():
    added, removed = message("reaction_added"), message("reaction_removed")
    assert (added.relation.reaction.name, added.attributes["reaction_name"]) == ("👍🏽", "thumbsup::skin-tone-4")
    assert removed.relation.reaction_removed.name == removed.attributes["reaction_name"] == "party_parrot"


def test_what_the_app_did_itself_is_a_bots_doing():
    assert message("reaction_by_us").sender.kind == BOT
    assert message("message_by_app").sender.display_name == "Waterer"
    own = json.loads(recorded("message_changed"))
    for inner in ("message", "previous_message"):
        own["event"][inner]["bot_id"] = "B0WATERER"
    (edited,) = read(json.dumps(own).encode()).messages
    assert edited.sender.kind == BOT
    gone = json.loads(recorded("message_deleted"))
    gone["event"]["previous_message"]["user"] = US
    (deleted,) = read(json.dumps(gone).encode()).messages
    assert deleted.sender.kind == BOT


@pytest.mark.parametrize(("app", "kind"), [("A0PENSTK1", BOT), ("A0ANOTHER", PERSON)])
def test_what_this_app_writes_in_a_persons_name_is_a_bots_doing(app, kind):
    document = json.loads(recorded("message"))
    document["event"]["app_id"] = app
    (said,) = read(json.dumps(document).encode()).messages
    assert said.sender.kind == kind


def test_a_mention_and_the_message_it_stands_in_are_one_event():
    mention = json.loads(recorded("app_mention"))
    said = {**mention["event"], "type": "message", "channel_type": "channel", "event_ts": "1772366500.000016"}
    twin = {**mention, "event": said, "event_id": "Ev0ANOTHER"}
    assert read(json.dumps(twin).encode()) == read(recorded("app_mention"))
    text = "<@U0WATERER> tell <@U0BASIL02> in #greenhouse and @here, see the plan (https://garden.example/?a=1&b=2)"
    assert message("app_mention").text == text


def test_files_come_by_reference():
    (plan,) = message("file_share").attachments
    assert (plan.id, plan.name, plan.media_type, plan.size_bytes) == (
        "F0PLAN001",
        "plan — beds.pdf",
        "application/pdf",
        48213,
    )
    assert plan.url == "https://files.slack.com/files-pri/T0GARDEN1-F0PLAN001/plan.pdf"
    (elsewhere,) = message("file_share_elsewhere").attachments
    assert (elsewhere.id, elsewhere.url) == ("F0PLAN002", "")


def test_a_direct_message_says_so_and_an_organisation_is_named():
    assert message("message_im").attributes["channel_type"] == "im"
    assert "channel_type" not in message("message").attributes
    assert message("message_enterprise").attributes["enterprise_id"] == "E0ESTATE1"
    assert "enterprise_id" not in message("message").attributes


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("message_changed_unfurl", "message.message_changed"),
        ("reaction_to_file", "reaction_added"),
        ("pin_of_file", "pin_added"),
        ("channel_join", "message.channel_join"),
        ("member_joined_channel", "member_joined_channel"),
        ("app_rate_limited", "app_rate_limited"),
    ],
)
def test_what_is_of_no_interest_is_counted(name, kind):
    assert read(recorded(name)) == ports.Reading(ignored=(kind,))


def test_every_known_kind_is_ignored_by_name():
    for kind in slack_kinds.EVENTS:
        assert read(slack_trial.envelope({"type": kind})).ignored == (kind,)
    for kind in slack_kinds.SUBTYPES:
        assert read(slack_trial.envelope({"type": "message", "subtype": kind})).ignored == (f"message.{kind}",)
    assert not set(slack_events._READERS) & slack_kinds.EVENTS


def test_an_unheard_of_event_is_kept_as_it_came_without_its_envelope():
    (kept,) = read(recorded("assistant_thread_started")).unknown
    assert (kept.event_id, kept.kind) == ("Ev0ASS001", "assistant_thread_started")
    assert json.loads(kept.body) == json.loads(recorded("assistant_thread_started"))["event"]
    assert b"oneLongVerificationTok3n" not in kept.body
    (strange,) = read(slack_trial.envelope({"type": "message", "subtype": "huddle_thread"}, "Ev9")).unknown
    assert (strange.event_id, strange.kind) == ("Ev9", "message.huddle_thread")


def test_an_unheard_of_envelope_is_kept_under_an_id_of_its_own():
    body = json.dumps({"type": "something_new", "token": "oneLongVerificationTok3n", "data": [1]}).encode()
    (kept,) = read(body).unknown
    assert kept.kind == "something_new"
    assert json.loads(kept.body) == {"type": "something_new", "data": [1]}
    assert read(body) == read(body)
    assert kept.event_id != read(body.replace(b"1", b"2")).unknown[0].event_id


def test_the_challenge_is_answered_as_it_came():
    reading = read(recorded("url_verification"))
    assert reading == ports.Reading(answer=ports.Answer(body=b"v8Kq2ZcJ1mWw0n3xG5yHt7RbUeLsPdAo4iFgXkNjM6QTzVhYEB9r"))
    assert reading.answer.content_type.startswith("text/plain")


def test_null_counts_as_not_there():
    event = {
        "type": "message",
        "channel": ROOM,
        "ts": ROOT,
        "user": None,
        "bot_id": "B0X",
        "text": None,
        "files": None,
        "username": None,
        "bot_profile": {"name": None},
        "thread_ts": None,
        "subtype": None,
    }
    (said,) = read(slack_trial.envelope(event)).messages
    assert (said.sender.id, said.text, said.thread) == ("B0X", "", "")


def test_a_fraction_of_a_second_may_be_short():
    event = {"type": "message", "channel": ROOM, "ts": "1772366399.25", "user": ROSE, "text": "x"}
    (said,) = read(slack_trial.envelope(event)).messages
    assert said.sent_at.ToJsonString() == "2026-03-01T11:59:59.250Z"


def test_the_root_of_a_thread_is_not_inside_it():
    event = {"type": "message", "channel": ROOM, "ts": ROOT, "thread_ts": ROOT, "user": ROSE, "text": "x"}
    (said,) = read(slack_trial.envelope(event)).messages
    assert not said.thread
    assert not said.HasField("relation")


@pytest.mark.parametrize("url", ["javascript:alert(1)", "https://x.y/a b", "https://x.y/\n", "https://x.y/é", "x.y"])
def test_a_file_whose_address_is_none_has_none(url):
    file = {"id": "F1", "url_private": url}
    event = {"type": "message", "channel": ROOM, "ts": ROOT, "user": ROSE, "files": [file]}
    (said,) = read(slack_trial.envelope(event)).messages
    assert (said.attachments[0].id, said.attachments[0].url) == ("F1", "")


@given(st.binary(max_size=300))
def test_no_bytes_do_anything_but_read_or_be_refused(raw):
    check_outcome(raw)


@given(json_values)
def test_no_json_does_anything_but_read_or_be_refused(value):
    check_outcome(json.dumps(value).encode())


@given(json_values, st.sampled_from(["event_callback", "url_verification", "app_rate_limited", "other"]))
def test_no_envelope_does_anything_but_read_or_be_refused(value, kind):
    fields = value if isinstance(value, dict) else {"event": value}
    check_outcome(json.dumps({"type": kind, "event_id": "Ev1", **fields}).encode())


@given(
    name=st.sampled_from(POSTED),
    steps=st.lists(st.integers(0, 30), max_size=5),
    value=json_values,
)
def test_no_change_of_a_recorded_payload_does_anything_but_read_or_be_refused(name, steps, value):
    document = json.loads(recorded(name))
    place, inner = document, document
    key = "event" if "event" in document else next(iter(document))
    for step in steps:
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner:
            break
        keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        place, key = inner, keys[step % len(keys)]
    place[key] = value
    check_outcome(json.dumps(document).encode())


@given(st.sampled_from(["message", "message_changed", "file_share", "reaction_added"]), st.data())
def test_no_damage_does_anything_but_read_or_be_refused(name, data):
    raw = bytearray(recorded(name))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    check_outcome(bytes(raw))


@pytest.mark.parametrize("name", POSTED)
def test_no_beginning_of_a_recorded_payload_is_read(name):
    body = recorded(name).rstrip()
    for length in range(0, len(body), max(1, len(body) // 50)):
        with pytest.raises(errors.Rejected):
            read(body[:length])


def check_outcome(raw):
    for content_type in ("application/json", "application/x-www-form-urlencoded"):
        try:
            reading = read(raw, content_type)
        except errors.Rejected as error:
            check_refusal(error)
            continue
        check_reading(reading)


def check_refusal(error):
    assert 400 <= error.status < 500
    assert error.status != 401
    assert error.field


def check_reading(reading):
    for found in reading.messages:
        assert found.event_id
        assert found.conversation
        assert "\0" not in found.event_id + found.conversation + found.text + found.sender.id
        found.sent_at.ToDatetime()
        assert message_pb2.Message.FromString(found.SerializeToString()) == found
    for kept in reading.unknown:
        assert kept.event_id
        assert kept.kind
        assert "\0" not in kept.event_id + kept.kind
