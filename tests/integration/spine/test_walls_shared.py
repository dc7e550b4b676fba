"""What tenants have in common on the bus: a hostile app neither fills it up nor takes another's place in it."""

import itertools
import json

import pytest

from penstock.app import messages
from penstock.base import context as contexts
from penstock.messages.v1 import desk_pb2
from penstock.spine import route, suspects
from penstock.spine.plane import headers
from tests.integration.spine.walls_stage import ACME, APP, GLOBEX, walled

OWN = "tenant.acme.messages.out.p00.webhook.acc-1.room"


@pytest.fixture
async def bus():
    """Both tenants; acme's app has joined, and was told something."""
    async with walled(ACME, GLOBEX) as made:
        async with made.guest(ACME):
            pass
        await made.core.key_value(suspects.BUCKET, max_age_s=suspects.KEPT_S)
        await made.say(GLOBEX, "room", "a secret of globex")
        await made.say(ACME, "room", "hello")
        yield made


async def test_suspects_do_not_fill_the_bucket_that_is_everybodys(bus):
    """Each key costs the server memory for a day, one that says that it is gone as well."""
    kept = await bus.core.stream_state(f"KV_{suspects.BUCKET}")
    async with bus.link("acme") as link:
        for number, act in itertools.product(range(1, 30), (desk_pb2.SUSPECT_ACT_WRITE, desk_pb2.SUSPECT_ACT_DELETE)):
            entry = desk_pb2.SuspectEntry(key=f"app_acme_{APP}.MESSAGES_INBOUND.2.{number}", act=act, value=b"0")
            question = desk_pb2.DeskRequest(suspect=entry).SerializeToString()
            answer = await link.call(f"penstock.desk.acme.{APP}.ask", question, 10)
            assert not desk_pb2.DeskReply.FromString(answer.body).found
        state = await bus.core.stream_state(f"KV_{suspects.BUCKET}")
        assert (state.messages, state.last) == (kept.messages, kept.last)


async def test_what_an_operator_says_for_another_is_not_taken_for_a_repetition(bus):
    """An id that somebody chose can be guessed; what the stream tells repetitions by cannot."""
    words = messages.Words("acc-1", "room", "Your order has left", id="order-1")
    command = messages._worded(GLOBEX, "webhook", words)
    async with bus.link("acme") as link:
        answer = await link.call(OWN, b"x", 5, headers_block=headers.block({"Nats-Msg-Id": "globex:order-1"}))
        assert not json.loads(answer.body).get("duplicate")
    stored = await bus.core.publish(messages._outgoing(GLOBEX, command))
    assert not stored.duplicate
    plain = await bus.core.publish(route.OUTBOUND.encode(contexts.start(GLOBEX), command))
    assert plain.duplicate  # as it was swallowed while its message id was its own
