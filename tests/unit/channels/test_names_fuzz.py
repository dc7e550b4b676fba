"""Whatever ids a platform or an app gives: on HTTP they stay where they belong, both ways."""

import asyncio
import contextlib
from collections.abc import Mapping
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from penstock.base import errors, ids, settings
from penstock.channels import ports, registry
from penstock.channels.adapters import channel_cliq, channel_slack, channel_telegram, channel_webhook, endpoint
from penstock.channels.entrypoints import terminal, webhooks
from penstock.channels.model import account as model
from penstock.channels.service import lookup
from penstock.channels.testing import cliq_simulator, slack_simulator, telegram_simulator
from penstock.messages.v1 import outbound_pb2
from tests.unit import names

SIGNING = "whsec_" + "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
API = "https://platform.example/base"
TOKENS = {
    "slack": slack_simulator.fresh_token(),
    "telegram": telegram_simulator.fresh_token(),
    "cliq": cliq_simulator.fresh_token(),
}
SENDING = {
    "slack": (channel_slack.SlackChannel, {"api_url": API}, slack_simulator.fresh_signing_secret(), TOKENS["slack"]),
    "telegram": (
        channel_telegram.TelegramChannel,
        {"api_url": API},
        telegram_simulator.fresh_word(),
        TOKENS["telegram"],
    ),
    "cliq": (
        channel_cliq.CliqChannel,
        {"api_url": API, "bot": "bot"},
        cliq_simulator.fresh_signing_secret(),
        TOKENS["cliq"],
    ),
    "webhook": (channel_webhook.WebhookChannel, {"url": API}, SIGNING, ""),
}
"""Each channel that calls a platform: its adapter, an account's configuration, and its secrets."""

WITHOUT_CALLS = {"terminal"}


class Recording:
    """Takes a request in place of the network, which is away."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, endpoint.Endpoint, Mapping[str, str], bytes]] = []

    async def post(self, where: endpoint.Endpoint, headers: Mapping[str, str], body: bytes) -> None:
        await self.request("POST", where, headers, body)

    async def request(self, method: str, where: endpoint.Endpoint, headers: Mapping[str, str], body: bytes) -> None:
        self.requests.append((method, where, headers, body))
        raise errors.Unavailable("away", "the network is away", after_s=1)


def test_every_channel_that_calls_is_tried() -> None:
    assert {entry.slug for entry in registry.load().entries} == {*SENDING, *WITHOUT_CALLS}


kinds = st.sampled_from(["", "reply", "edit", "deletion", "reaction", "reaction_removed"])


@st.composite
def commands(draw: st.DrawFn) -> outbound_pb2.SendCommand:
    """What an app could ask for: a good command of the channel's with some of its ids replaced by others."""
    number = st.sampled_from(["1", "1700000000.000100", "1700000000000_1", "C0ROOM", "-100", "CT_1/#room", "CT_1/12"])
    text = st.one_of(number, names.names)
    command = outbound_pb2.SendCommand(
        command_id=draw(text),
        conversation=draw(text),
        thread=draw(st.one_of(st.just(""), text)),
        text=draw(names.names),
    )
    kind = draw(kinds)
    if kind:
        getattr(command.relation, kind).message_id = draw(text)
    if kind.startswith("reaction"):
        getattr(command.relation, kind).name = draw(st.one_of(st.just("+1"), names.names))
    return command


def _asked(channel: str, command: outbound_pb2.SendCommand) -> tuple[str, endpoint.Endpoint, Mapping[str, str], bytes]:
    """The one request that a command becomes. Raises Rejected when it becomes none."""
    make, config, signing, token = SENDING[channel]
    adapter, recording = make(), Recording()
    adapter._http = recording  # type: ignore[assignment]
    account = ports.Account(ids.tenant_id("acme"), model.new_account_id(), ids.ChannelName(channel), "shop", config)
    tokens = (settings.Secret(token),) if token else ()
    with contextlib.suppress(errors.Unavailable):
        asyncio.run(adapter.send(account, ports.Credentials((settings.Secret(signing),), tokens), command))
    [request] = recording.requests
    return request


@pytest.mark.parametrize(
    ("channel", "conversation", "path"),
    [
        ("slack", "../C0ROOM", "/base/chat.postMessage"),
        ("telegram", "-100", f"/base/bot{TOKENS['telegram']}/sendMessage"),
        ("cliq", "CT_1/#room", "/base/channelsbyname/room/message?bot_unique_name=bot"),
        ("webhook", "../room", "/base"),
    ],
    ids=["slack", "telegram", "cliq", "webhook"],  # an address may hold a token, made anew in each process
)
def test_what_is_in_order_is_asked_for(channel: str, conversation: str, path: str) -> None:
    command = outbound_pb2.SendCommand(command_id="1", conversation=conversation, text="hello")
    assert _asked(channel, command)[1].target == path


@pytest.mark.parametrize("channel", SENDING)
@profile(max_examples=300)
@given(commands())
def test_law_a_call_stays_at_its_platform_below_its_address(channel: str, command: outbound_pb2.SendCommand) -> None:
    try:
        method, where, headers, _ = _asked(channel, command)
    except errors.Rejected:
        return
    assert method in {"POST", "PUT", "DELETE"}
    assert (where.secure, where.host, where.authority) == (True, "platform.example", "platform.example")
    assert all("!" <= character <= "~" for character in where.target)
    parts = urlsplit(where.target)
    assert parts.path.startswith("/base")
    assert not {".", "..", ""} & set(parts.path.split("/")[1:])
    assert parts.fragment == ""
    for name, value in headers.items():
        assert all(" " <= character <= "~" for character in f"{name}{value}")


@given(names.tuples(2))
def test_law_a_webhooks_path_names_one_account(pair: tuple[tuple[str, str], tuple[str, str]]) -> None:
    found = [names.built(lambda *parts: webhooks.address(f"/webhooks/{parts[0]}/{parts[1]}"), parts) for parts in pair]
    for parts, address in zip(pair, found, strict=True):
        assert address in (None, parts)
        if address is not None:
            assert names.built(ids.slug, (parts[0], "channel"))
            assert names.built(ids.token, (parts[1], "account"))


@given(names.names)
def test_law_a_terminals_path_names_one_account(account: str) -> None:
    scope = {"path": f"/v1/terminal/{account}/replies", "method": "GET"}
    assert names.built(lambda _: terminal.address(scope), (account,)) in (None, (account, 0))


@given(names.tuples(2))
def test_law_no_two_secrets_are_sealed_for_one_place(pair: tuple[tuple[str, str], tuple[str, str]]) -> None:
    """An account's id is one token, so the slash between it and the secret's id divides them."""
    one, other = pair
    if model.is_account_id(one[0]) and model.is_account_id(other[0]):
        assert (lookup.owner(*one) == lookup.owner(*other)) == (one == other)
