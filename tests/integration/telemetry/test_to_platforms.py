"""A platform is told nothing of our traces, unless it is a service of one's own."""

import pytest

from penstock.base import context as contexts
from penstock.base import errors, ids, settings, telemetry
from penstock.channels import ports
from penstock.channels.adapters import channel_webhook
from penstock.channels.testing import webhook_sender, webhook_server
from penstock.messages.v1 import outbound_pb2

CONTEXT = contexts.start(ids.TenantId("acme"))


async def told(**config: str) -> dict[str, str]:
    """The headers of one send, made while a context is bound."""
    requests: list[webhook_server.Request] = []

    def respond(request: webhook_server.Request) -> webhook_server.Reply:
        requests.append(request)
        return webhook_server.Reply(200)

    server, channel = webhook_server.WebhookServer(respond), channel_webhook.WebhookChannel()
    await server.start()
    try:
        account = ports.Account(
            CONTEXT.tenant,
            ids.AccountId("acc-1"),
            channel.name,
            "x",
            {"url": f"http://127.0.0.1:{server.port}/", **config},
        )
        channel.check_config(account.config)
        credentials = ports.Credentials((settings.Secret(webhook_sender.fresh_secret()),))
        with telemetry.bound(CONTEXT):
            await channel.send(account, credentials, outbound_pb2.SendCommand(command_id="c", text="hello"))
    finally:
        await channel.close()
        await server.stop()
    return requests[0].headers


async def test_a_platform_hears_nothing_of_our_traces():
    for config in ({}, {"traceparent": "no"}):
        headers = await told(**config)
        assert not {"traceparent", "tracestate", "trace-id", "correlation-id", "x-correlation-id"} & set(headers)
        assert CONTEXT.trace_id not in str(headers)


async def test_a_receiver_of_ones_own_may_hear_where_in_the_trace_it_is():
    assert (await told(traceparent="yes"))["traceparent"] == CONTEXT.traceparent


def test_yes_or_no_are_the_answers():
    with pytest.raises(errors.Rejected) as refused:
        channel_webhook.WebhookChannel().check_config({"url": "https://example.org", "traceparent": "maybe"})
    assert refused.value.field == "config.traceparent"
