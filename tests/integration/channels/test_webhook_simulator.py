"""The simulator is trusted by everything else, so it is tested too: strict, rude when told, and exact in its counts."""

import asyncio

import pytest

from penstock.channels.testing import webhook_client, webhook_sender, webhook_server, webhook_simulator

SECRET, OLDER = webhook_sender.fresh_secret(), webhook_sender.fresh_secret()
Behaviour, Forgery = webhook_simulator.Behaviour, webhook_simulator.Forgery


def command(kind="message.send", **fields):
    data = {"command_id": "c-1", "account": "acc", "conversation": "room", "text": "hello", **fields}
    return {"type": kind, "data": data}


@pytest.fixture
async def simulator():
    async with webhook_simulator.WebhookSimulator([SECRET, OLDER]) as running:
        running.connect(running.url)  # it posts to itself: one side of it checks the other
        yield running


@pytest.mark.parametrize(
    ("forgery", "status"),
    [
        (Forgery(), 200),
        (Forgery(second_secret=True), 200),
        (Forgery(wrong_secret=True), 401),
        (Forgery(age_s=301), 401),
        (Forgery(age_s=-302), 401),
        (Forgery(without=frozenset({"webhook-id"})), 401),
        (Forgery(without=frozenset({"webhook-timestamp"})), 401),
        (Forgery(without=frozenset({"webhook-signature"})), 401),
        (Forgery(body=b"{}"), 401),
        (Forgery(webhook_id="a.b"), 401),
        (Forgery(content_type="text/plain"), 400),
    ],
)
async def test_it_is_strict_with_signatures_and_says_what_was_wrong(simulator, forgery, status):
    posted = await simulator.post_event(command(), forgery=forgery)
    assert posted.status == status
    assert len(simulator.arrivals) == (status == 200)
    assert len(simulator.faults) == (status != 200)


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (command("message.shout"), 422),
        (command(text=""), 422),
        (command(conversation=""), 422),
        (command("message.edit"), 422),
        (command("message.edit", message_id="m-none"), 404),
        (command("reaction.add", message_id="m-none"), 422),
        ({"type": "message.send", "data": {}}, 400),
        ({"type": "message.send"}, 400),
    ],
)
async def test_it_is_strict_with_commands(simulator, event, status):
    assert (await simulator.post_event(event)).status == status


async def test_people_see_what_was_said_changed_reacted_to_and_taken_back(simulator):
    simulator.behave(Behaviour(taken=False))
    said = await simulator.say("room", "hello")
    await simulator.edit("room", said.message_id, "hello again")
    await simulator.react("room", said.message_id, "👍")
    await simulator.react("room", said.message_id, "👎")
    await simulator.react("room", said.message_id, "👎", removed=True)
    (utterance,) = simulator.conversation("room")
    assert (utterance.text, utterance.reactions, utterance.deleted) == ("hello again", ["👍"], False)
    simulator.behave()
    await simulator.post_event(command(), forgery=Forgery(webhook_id="one"))
    _, answer = simulator.conversation("room")
    assert (answer.author, answer.text) == ("penstock", "hello")
    change = command("message.edit", message_id=answer.message_id, text="changed")
    await simulator.post_event(change, forgery=Forgery(webhook_id="two"))
    assert answer.text == "changed"
    await simulator.post_event(command("message.delete", message_id=answer.message_id))
    await simulator.delete("room", said.message_id)
    assert [utterance.deleted for utterance in simulator.conversation("room")] == [True, True]


async def test_a_repeated_webhook_id_is_counted_and_acted_on_once(simulator):
    first = await simulator.post_event(command(), forgery=Forgery(webhook_id="one"))
    again = await simulator.repeat(first)
    assert first.answer == again.answer
    assert simulator.duplicates == 1
    assert len(simulator.conversation("room")) == 1
    assert [arrival.duplicate for arrival in simulator.arrivals_in("room")] == [False, True]


async def test_behaviours_last_as_long_as_they_were_told_and_where(simulator):
    simulator.behave(
        Behaviour(status=503, times=2, conversation="room"), Behaviour(status=429, retry_after="9", times=1)
    )
    statuses = [(await simulator.post_event(command(conversation=name))).status for name in ("room", "other", "room")]
    statuses += [(await simulator.post_event(command())).status for _ in range(2)]
    assert statuses == [503, 429, 503, 200, 200]
    assert [arrival.taken for arrival in simulator.arrivals] == [False, False, False, True, True]


async def test_a_cut_connection_is_no_answer_although_it_was_taken(simulator):
    simulator.behave(Behaviour(cut=True, times=1))
    assert (await simulator.post_event(command())).status == 0
    assert simulator.arrivals[0].taken
    assert (await simulator.post_event(command())).status == 200


async def test_it_can_be_down_and_come_back_under_the_same_url(simulator):
    url = simulator.url
    await simulator.refuse_connections()
    assert (await simulator.post_event(command())).status == 0
    await simulator.accept_connections()
    assert simulator.url == url
    assert (await simulator.post_event(command())).status == 200


async def test_a_patient_platform_delivers_again_under_the_same_id():
    async with webhook_simulator.WebhookSimulator([SECRET], patience_s=5.0) as simulator:
        simulator.connect(simulator.url)
        simulator.behave(Behaviour(status=503, times=1), Behaviour(cut=True, taken=False, times=1))
        posted = await simulator.post_event(command())
        assert (posted.status, posted.attempts) == (200, 3)
        assert len({arrival.webhook_id for arrival in simulator.arrivals}) == 1
        simulator.behave(Behaviour(status=422))
        assert (await simulator.post_event(command(command_id="c-2"))).attempts == 1


async def test_waiting_ends_with_what_is_waited_for_or_at_its_deadline(simulator):
    waiting = asyncio.ensure_future(simulator.arrived("room", 2))
    until = asyncio.ensure_future(simulator.until(lambda: len(simulator.arrivals) == 2))
    await simulator.post_event(command())
    assert not waiting.done()
    await simulator.post_event(command())
    assert len(await waiting) == 2
    await until
    with pytest.raises(TimeoutError):
        await simulator.arrived("room", 3, timeout_s=0.01)
    with pytest.raises(TimeoutError):
        await simulator.until(lambda: False, timeout_s=0.01)


async def test_files_are_offered_under_their_url(simulator):
    await simulator.attach("room", "plan.txt", b"content")
    (path,) = simulator.files
    reader, writer = await asyncio.open_connection("127.0.0.1", int(simulator.home.rsplit(":", 1)[1]))
    writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
    assert await reader.readexactly(7) == b"content"
    writer.close()


async def test_headers_of_its_own_go_along_with_every_request():
    seen = []
    server = webhook_server.WebhookServer(lambda request: seen.append(request) or webhook_server.Reply())
    await server.start()
    async with webhook_simulator.WebhookSimulator([SECRET]) as simulator:
        simulator.connect(f"http://127.0.0.1:{server.port}/webhooks/webhook/acc?x=y")
        simulator.headers["traceparent"] = "00-1"
        assert (await simulator.say("room", "hello")).ok
    await server.stop()
    assert (seen[0].method, seen[0].target) == ("POST", "/webhooks/webhook/acc?x=y")
    assert seen[0].headers["traceparent"] == "00-1"


async def test_its_client_says_when_there_was_no_answer_in_time():
    server = webhook_server.WebhookServer(lambda _: webhook_server.Reply(delay_s=5.0))
    await server.start()
    client = webhook_client.WebhookClient(f"http://127.0.0.1:{server.port}/", timeout_s=0.05)
    with pytest.raises(TimeoutError):
        await client.post({}, b"{}")
    server.respond = lambda _: webhook_server.Reply(body=b"late")
    assert (await client.post({}, b"{}")).body == b"late"
    await client.close()
    await server.stop()
