"""The terminal's stream: signed, resumable, bounded, live, and over when anybody leaves."""

import asyncio
import json
from typing import Any

import pytest

from penstock.base import errors, settings, tasks
from penstock.channels.entrypoints import terminal
from penstock.channels.service import replies
from penstock.channels.store import commands
from tests.unit.channels import fakes

ID = fakes.account_id("t")
PATH = f"/v1/terminal/{ID}/replies"


class House:
    def __init__(self, *, poll_s: float = 5.0) -> None:
        self.book = fakes.Book(fakes.account(letter="t", channel="terminal"), fakes.account())
        self.tenants = fakes.Tenants(fakes.ACME)
        self.table, self.clock = fakes.CommandTable(), fakes.clock()
        where = fakes.where(self.book, self.tenants, fakes.Platform("terminal"), fakes.Platform())
        self.replies = replies.Replies(where, self.table, most_per_account=2, poll_s=poll_s)
        self.door = terminal.Terminal(self.replies, clock=self.clock)

    def say(self, text: str, account: str = ID) -> None:
        command = fakes.command(f"c{len(self.table.said)}", text, channel="terminal", account=account)
        self.table.said.append(commands.Reply(len(self.table.said) + 1, command, "m", fakes.NOW))


class Client:
    """A terminal: what it heard so far, and a way to hang up."""

    def __init__(self, house: House, query: bytes = b"", **scope: Any) -> None:
        self.heard: list[bytes] = []
        self.status = 0
        self.ended = False
        self._left = asyncio.Event()
        self._asked = False
        self._scope = {
            "type": "http",
            "method": "GET",
            "path": PATH,
            "query_string": query,
            "headers": [(b"signature", b"right")],
        } | scope
        self._house = house

    async def run(self) -> None:
        await self._house.door(self._scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, event: Any) -> None:
        if event["type"] == "http.response.start":
            self.status = event["status"]
            return
        self.heard.append(event["body"])
        self.ended = not event.get("more_body", False)

    def leave(self) -> None:
        self._left.set()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(text) for text in b"".join(self.heard).splitlines() if text]


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
async def running():
    """Clients running in the background, stopped at the end."""
    own = tasks.Tasks()

    def start(client: Client) -> Client:
        own.once("client", client.run())
        return client

    yield start
    await own.stop()


async def test_replies_come_from_any_point_on_and_live(running: Any):
    house = House()
    for text in ("one", "two"):
        house.say(text)
    house.say("not mine", fakes.account_id())
    client = running(Client(house, b"after=1"))
    await until(lambda: client.lines)
    assert [line["command"]["text"] for line in client.lines] == ["two"]
    house.say("four")
    house.replies.wake(ID)
    await until(lambda: len(client.lines) == 2)
    assert client.lines[1]["sequence"] == 4
    assert client.lines[1]["command"]["conversation"] == "room"
    assert client.lines[1]["sent_at"].startswith("2026-01-01T00:00:00")


async def test_what_another_process_sent_is_found_by_looking(running: Any):
    house = House(poll_s=0.05)
    client = running(Client(house))
    await until(lambda: client.status == 200)
    house.say("from afar")
    await until(lambda: client.lines)
    assert client.lines[0]["command"]["text"] == "from afar"


async def test_a_reply_while_looking_is_not_missed(running: Any):
    house = House(poll_s=60)
    original, armed = house.table.replies, True

    async def late(*arguments: Any, **named: Any) -> Any:
        nonlocal armed
        found = await original(*arguments, **named)
        if armed:
            armed = False
            house.say("just after the look")
            house.replies.wake(ID)
        return found

    house.table.replies = late  # type: ignore[method-assign]
    client = running(Client(house))
    await until(lambda: client.lines)
    assert client.lines[0]["sequence"] == 1


async def test_more_than_a_batch_comes_whole_and_in_order(running: Any):
    house = House()
    for number in range(replies.BATCH * 2 + 5):
        house.say(str(number))
    client = running(Client(house))
    await until(lambda: len(client.lines) == replies.BATCH * 2 + 5)
    assert [line["sequence"] for line in client.lines] == list(range(1, replies.BATCH * 2 + 6))


async def test_it_ends_when_the_terminal_leaves(running: Any):
    house = House()
    client = running(Client(house))
    await until(lambda: house.replies._followers)
    client.leave()
    await until(lambda: not house.replies._followers)
    assert client.ended


async def test_it_ends_when_the_process_stops_and_no_other_begins(running: Any):
    house = House()
    client = running(Client(house))
    await until(lambda: client.status)
    house.replies.stop()
    await until(lambda: client.ended)
    with pytest.raises(errors.Unavailable):
        await Client(house).run()


async def test_it_ends_when_the_account_is_disabled(running: Any):
    house = House()
    client = running(Client(house))
    await until(lambda: client.status)
    house.book.accounts[ID] = fakes.account(letter="t", channel="terminal", disabled=True)
    house.replies.wake(ID)
    await until(lambda: client.ended)
    with pytest.raises(errors.Rejected) as caught:
        await Client(house).run()
    assert caught.value.code == "account_disabled"


async def test_it_ends_with_a_secret_but_not_with_a_new_one(running: Any):
    house = House()
    client = running(Client(house))
    await until(lambda: client.status)
    first, second = *house.book.secrets, settings.Secret("whsec_2")
    house.book.secrets = (second, first)
    house.say("still here")
    house.replies.wake(ID)
    await until(lambda: client.lines)
    house.book.secrets = (second,)
    house.say("not for who knows the old one")
    house.replies.wake(ID)
    await until(lambda: client.ended)
    assert [line["command"]["text"] for line in client.lines] == ["still here"]


async def test_it_ends_when_the_tenant_is_suspended(running: Any):
    house = House()
    client = running(Client(house))
    await until(lambda: client.status)
    house.tenants.states[fakes.ACME] = "suspended"
    house.say("too late")
    house.replies.wake(ID)
    await until(lambda: client.ended)
    assert client.lines == []


async def test_streams_of_one_account_are_bounded(running: Any):
    house = House()
    first = running(Client(house))
    running(Client(house))
    await until(lambda: len(house.replies._followers.get(ID, ())) == 2)
    with pytest.raises(errors.Unavailable) as caught:
        await Client(house).run()
    assert (caught.value.code, caught.value.throttled) == ("too_many_streams", True)
    first.leave()
    await until(lambda: len(house.replies._followers[ID]) == 1)
    third = running(Client(house))
    await until(lambda: third.status == 200)


async def test_a_quiet_stream_is_kept_alive(running: Any):
    house = House(poll_s=0.01)
    client = running(Client(house))
    await until(lambda: client.status)
    await house.clock.advance(terminal.KEEP_ALIVE_S)
    await until(lambda: client.heard)
    assert client.heard[0] == b"\n"


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        ({"headers": []}, 401),
        ({"headers": [(b"signature", b"wrong")]}, 401),
        ({"method": "POST"}, 405),
        ({"path": "/v1/terminal/x/replies"}, 404),
        ({"path": f"/v1/terminal/{fakes.account_id('z')}/replies"}, 404),
        ({"path": f"/v1/terminal/{fakes.account_id()}/replies"}, 404),
        ({"path": f"{PATH}/"}, 404),
        ({"path": f"{PATH}\n"}, 404),
        ({"query_string": b"after=-1"}, 400),
        ({"query_string": b"after=" + b"9" * 19}, 400),
        ({"query_string": b"after=1&after=2"}, 400),
        ({"query_string": b"before=1"}, 400),
        ({"headers": [(b"signature", b"right"), (b"content-length", b"1")]}, 413),
    ],
)
async def test_bad_requests_are_refused_before_anything_is_sent(scope: dict[str, Any], status: int):
    client = Client(House(), **scope)
    with pytest.raises(errors.Rejected) as caught:
        await client.run()
    assert (caught.value.status, client.status) == (status, 0)


async def test_an_account_without_a_secret_is_shut():
    house = House()
    house.book.secrets = ()
    with pytest.raises(errors.Rejected, match="no_secret"):
        await Client(house).run()
