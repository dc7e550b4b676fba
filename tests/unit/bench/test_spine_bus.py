"""What the spine's benchmarks publish is what Penstock publishes, and a message lost or doubled fails the run."""

import pytest

from bench import spine_bus
from penstock.messages.v1 import message_pb2
from penstock.spine import route


def test_messages_have_the_size_and_the_headers_of_ours():
    said = spine_bus.said(spine_bus.CONVERSATIONS + 1)
    assert {len(message.body) for message in said} == {spine_bus.BODY_BYTES}
    assert len({message.headers["Nats-Msg-Id"] for message in said}) == len(said)
    assert len({message.key for message in said}) == spine_bus.CONVERSATIONS
    decoded = route.INBOUND.decode(said[0].headers, said[0].body)
    assert isinstance(decoded, message_pb2.Message)
    assert decoded.tenant == spine_bus.TENANT


@pytest.mark.parametrize(
    ("got", "words"),
    [
        ([1, 2], "1 of 3 missing, 0 doubled, 2 in all"),
        ([1, 2, 3, 3], "0 of 3 missing, 1 doubled, 4 in all"),
        ([1, 2, 3, 4], "0 of 3 missing, 0 doubled, 4 in all"),
    ],
)
def test_what_is_not_there_exactly_once_fails_the_run(got, words):
    with pytest.raises(spine_bus.Unkept, match=words):
        spine_bus.require_each_once(got, [1, 2, 3], "messages stored")


def test_all_of_them_in_any_order_is_fine():
    assert spine_bus.require_each_once([3, 1, 2], [1, 2, 3], "messages stored") is None


def test_a_meter_counts_the_cpu_of_this_process():
    meter = spine_bus.Meter()
    begun = spine_bus.cpu_s()
    while spine_bus.cpu_s() - begun < 0.01:
        pass
    rate, cpu_us = meter.read(10)
    assert rate > 0
    assert cpu_us >= 1000
