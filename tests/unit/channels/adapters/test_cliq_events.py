"""What Zoho's documentation shows is read whole; nothing else does anything but be read, kept or refused by name."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors, ids
from penstock.channels import ports
from penstock.channels.adapters import cliq_events
from penstock.channels.model import event
from penstock.channels.testing import cliq_trial
from penstock.messages.v1 import message_pb2

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RECORDED = Path(__file__).parents[1] / "recorded" / "cliq"
POSTED = sorted(path.stem for path in RECORDED.glob("*.json") if not path.stem.startswith("answer_"))
ROSE = "71000001"
ROOM, GARDEN = "CT_2230000000000000017_60010101", "CT_2230000000000000017_60010101/#garden"
DIRECT = "CT_2230000000000000042_60010101-B2"
PERSON, BOT = message_pb2.SENDER_KIND_PERSON, message_pb2.SENDER_KIND_BOT

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def recorded(name):
    return (RECORDED / f"{name}.json").read_bytes()


def account(**config):
    return ports.Account(ids.TenantId("t"), ids.AccountId("a"), ids.ChannelName("cliq"), "n", {"bot": "b", **config})


def read(body, content_type="application/json", **config):
    request = ports.WebhookRequest("POST", "/", "", {"content-type": content_type}, body, NOW)
    return cliq_events.read(request, account(**config))


def message(name, **config):
    (found,) = read(recorded(name), **config).messages
    return found


def changed(name, change):
    document = json.loads(recorded(name))
    change(document)
    return json.dumps(document).encode()


def test_a_direct_message_has_no_organisation_and_says_whom_to_answer():
    found = message("message")
    assert (found.conversation, found.thread) == (f"{DIRECT}/{ROSE}", "")
    assert found.text == "are they watered?"
    assert found.message_id == "1772366398250_244203892001"
    assert found.event_id == f"{DIRECT}/{found.message_id}"
    assert (found.sender.id, found.sender.display_name, found.sender.kind) == (ROSE, "Rose Linné", PERSON)
    assert found.sent_at.ToMilliseconds() == 1772366398250
    assert dict(found.attributes) == {}


def test_a_mention_and_what_was_said_are_one_event():
    said, named = message("message_sent"), message("mention")
    assert said == named
    assert said.conversation == GARDEN
    assert said.event_id == f"{ROOM}/1772366398250_244203892092"
    assert dict(said.attributes) == {"organization_id": "60010101"}


def test_without_ids_what_makes_it_the_same_is_the_id():
    said, named = message("message_sent_of_the_sample"), message("mention_of_the_sample")
    assert said.event_id == named.event_id == "said-c669ab23a95434c14affd9094f53cf1b519f4345"
    assert said.message_id == ""
    later = changed("message_sent_of_the_sample", lambda body: body["params"]["data"].update(time=1772366398251))
    other = changed("message_sent_of_the_sample", lambda body: body["params"]["user"].update(id="71000002"))
    words = changed("message_sent_of_the_sample", lambda body: body["params"]["data"]["message"].update(text="hi"))
    again = changed("message_sent_of_the_sample", lambda body: body.update(timestamp=1772366499999))
    ids_of = [read(body).messages[0].event_id for body in (later, other, words, again)]
    assert len({said.event_id, *ids_of}) == 4
    assert ids_of[-1] == said.event_id


def test_the_sample_of_the_message_handler_is_the_chat_with_the_bot():
    found = message("message_of_the_sample")
    assert (found.conversation, found.text, list(found.attachments)) == (f"{DIRECT}/{ROSE}", "hello", [])


def test_an_answer_names_what_it_answers():
    assert message("message_reply").relation.reply.message_id == "1772366338250_614577765734"
    assert message("message_sent_reply").relation.reply.message_id == "1772366398250_244203892092"


def test_files_come_by_reference():
    (plan,) = message("message_file").attachments
    assert (plan.id, plan.name, plan.media_type) == ("f3791c2279a67f6e5cbc8e1beb41ded8", "plan.pdf", "application/pdf")
    assert plan.url == "https://cliq.zoho.com/v2/attachments/f3791c2279a67f6e"
    assert message("message_file").text == "the plan"
    (bed,) = message("message_sent_file").attachments
    assert (bed.name, bed.media_type, bed.size_bytes, bed.url) == ("bed.png", "image/png", 559008, "")


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "file:///etc/passwd", "https://x.y/a b", "//x.y", "https://x\n"]
)
def test_a_strange_address_of_a_file_is_left_out(url):
    body = changed("message_file", lambda found: found["params"]["attachments"][0].update(url=url))
    assert read(body).messages[0].attachments[0].url == ""


def test_a_thread_is_in_its_channel():
    found = message("message_sent_in_thread")
    assert (found.conversation, found.thread) == (GARDEN, f"{ROOM}-T-2230000000000000099")
    assert found.event_id.startswith(f"{found.thread}/")
    bare = changed("message_sent_in_thread", lambda body: body["params"]["chat"].pop("parent_resource"))
    assert (read(bare).messages[0].conversation, read(bare).messages[0].thread) == (ROOM, found.thread)


def test_an_edit_and_a_deletion_name_their_message():
    edit, deletion = message("message_edited"), message("message_deleted")
    assert edit.relation.edit.message_id == deletion.relation.deletion.message_id == "1772366398250_244203892092"
    assert edit.text == "are they all watered?"
    back = changed("message_edited", lambda body: body.update(timestamp=body["timestamp"] + 60_000))
    assert read(back).messages[0].event_id != edit.event_id  # the same words again, later: another event
    again = changed("message_deleted", lambda body: body.update(timestamp=body["timestamp"] + 60_000))
    assert read(again).messages[0].event_id == deletion.event_id


def test_the_id_of_a_changed_message_may_stand_with_the_access():
    body = changed("message_edited_without_id", lambda found: found["params"]["access"].update(message_id="17_24"))
    assert read(body).messages[0].relation.edit.message_id == "17_24"


def test_a_bot_is_a_bot_and_so_is_whoever_it_speaks_as():
    assert message("message_sent_by_bot").sender.kind == BOT
    assert message("message_sent", owner=ROSE).sender.kind == BOT
    assert message("message_sent", owner="71000002").sender.kind == PERSON
    assert message("message", owner=ROSE).sender.kind == PERSON  # what somebody says to the bot, the bot did not say


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("welcome", "welcome_handler"),
        ("incoming_webhook", "incomingwebhook_handler"),
        ("bot_added", "participation_handler.added"),
        ("thread_closed", "participation_handler.thread_closed"),
    ],
)
def test_what_carries_nothing_that_was_said_is_named_and_not_kept(name, kind):
    reading = read(recorded(name))
    assert (list(reading.messages), reading.ignored, list(reading.unknown)) == ([], (kind,), [])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("command", "execution_handler"),
        ("message_action", "execution_handler"),
        ("context", "context_handler"),
        ("action", "action_handler"),
        ("message_dreamt", "participation_handler.message_dreamt"),
        ("message_edited_without_id", "participation_handler.message_edited"),
    ],
)
def test_what_this_build_cannot_read_is_kept_as_it_came(name, kind):
    reading = read(recorded(name))
    (kept,) = reading.unknown
    assert (list(reading.messages), list(reading.ignored)) == ([], [])
    assert (kept.kind, kept.body) == (kind, recorded(name))
    assert kept.event_id.startswith("body-")


def test_ids_may_be_numbers():
    def numbers(body):
        body["params"]["user"]["id"] = 71000001
        body["params"]["access"]["organization"]["id"] = 60010101

    assert read(changed("message_sent", numbers)).messages[0] == message("message_sent")


@pytest.mark.parametrize("name", ["../bots", "..", "", "gar den", "gärten", "a/b", "a?b"])
def test_a_channel_whose_name_could_not_stand_in_a_url_is_known_by_its_chat(name):
    body = changed("message_sent", lambda found: found["params"]["chat"].update(channel_unique_name=name))
    assert read(body).messages[0].conversation == ROOM


@pytest.mark.parametrize("name", POSTED)
def test_every_recorded_body_is_read_kept_or_named_and_can_be_stored(name):
    reading = read(recorded(name))
    assert len(reading.messages) + len(reading.ignored) + len(reading.unknown) == 1
    for found in reading.messages:
        event.complete(found, account(), NOW)


@given(st.sampled_from(POSTED), st.data())
def test_nothing_that_takes_the_place_of_a_field_is_an_accident(name, data):
    document = json.loads(recorded(name))
    inner = document
    for _ in range(data.draw(st.integers(0, 4))):
        nested = [value for value in inner.values() if isinstance(value, dict) and value]
        if not nested:
            break
        inner = data.draw(st.sampled_from(nested))
    inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(json_values)
    check(json.dumps(document, ensure_ascii=data.draw(st.booleans())).encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_read_or_refused(body):
    check(body)


@given(json_values, st.sampled_from([*sorted(cliq_events.IGNORED), "message_handler", "mention_handler", "dream"]))
def test_any_params_of_any_handler_are_read_or_refused(params, handler):
    check(cliq_trial.event(handler, params))


def check(body):
    refused, reading = None, ports.Reading()
    try:
        reading = read(body)
    except errors.Rejected as error:
        refused = error
    if refused is not None:
        assert 400 <= refused.status < 500
        assert refused.field
        return
    for found in reading.messages:
        assert found.HasField("sent_at")
        assert message_pb2.Message.FromString(found.SerializeToString()) == found
        event.complete(found, account(), NOW)
    assert reading.messages or reading.ignored or reading.unknown
