"""A process that shares a consumer in ranges: writes a line for every message it begins, and dies when one says so.

`python -m tests.integration.spine.range_member <url> <journal> <name>`; says `ready` once it asks for messages. The
journal is one file that all processes append to, a line at a time, so that its order is the order of time.
"""

import asyncio
import os
import signal
import sys

from penstock.base import context as contexts
from penstock.base import ids, telemetry
from penstock.spine import consumer, ports, stream, worker
from penstock.spine.adapters import spine_nats

LETTERS = stream.StreamPolicy("LETTERS", ("tenant.*.letters.>",), "what is read in ranges")
POLICY = consumer.ConsumerPolicy(
    "reader",
    "LETTERS",
    "tenant.acme.letters.>",
    concurrency=16,
    max_ack_pending=128,
    ack_wait_s=5.0,  # longer than others take to notice that a process is gone: so newer messages come first
    backoff_s=(0.05,),
    ranges=8,
)
DEADLY = b"die"
HANDLING_S = 0.02
DRAIN_S = 10.0


def letter(number: int, key: int, body: bytes | None = None) -> ports.Outgoing:
    """A message of one of 64 keys, each in a partition of its own."""
    subject = f"tenant.acme.letters.{ids.partition_token(key)}.k{key}"
    headers = {contexts.MESSAGE_ID: f"letter-{number}"}
    return ports.Outgoing("LETTERS", subject, f"k{key}", headers, b"%d" % number if body is None else body)


async def serve(url: str, journal: str, name: str) -> None:
    """Handle until told to stop, then drain."""
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    file = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    spine = await spine_nats.NatsSpine.connect(url)

    async def handle(_: contexts.Context, delivery: ports.Delivery) -> None:
        key = delivery.subject.rsplit(".", 1)[1]
        os.write(file, f"{name} {key} {delivery.body.decode()} {delivery.deliveries}\n".encode())
        if delivery.body == DEADLY:
            os.kill(os.getpid(), signal.SIGKILL)
        await asyncio.sleep(HANDLING_S)

    running = worker.Worker(spine, POLICY, handle, lane_of=lambda delivery: delivery.subject)
    await running.start()
    os.write(1, b"ready\n")
    await told.wait()
    os.write(1, f"drained {await running.drain(DRAIN_S)}\n".encode())
    await spine.close()


if __name__ == "__main__":
    telemetry.configure_logs(level=os.environ.get("LEVEL", "warning"))
    asyncio.run(serve(*sys.argv[1:]))
