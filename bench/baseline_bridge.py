"""What people glue together by hand: Starlette, asyncpg, nats-py and httpx, with the same durability and bodies.

    python -m bench.baseline_bridge bridge|app        says its webhook's URL (or "ready") on standard output

The bridge verifies a webhook (Standard Webhooks), inserts one row on conflict do nothing, publishes and awaits the
PubAck, then answers 200; it posts what the app says to the platform, writes a row and acknowledges. The app answers by
publishing. No lanes, no receipts, no outbox, no quarantine, no tenants: it is the least that could be called a loop. It
loses a message when it dies between the row and the publish, and says it twice when it dies between post and row.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime

import asyncpg
import httpx
import nats
import nats.errors
import nats.js.api
import uvicorn
import uvloop
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from penstock.spine import stream

TABLES = """
create table if not exists bridge_message (account text, event text, body bytea, primary key (account, event));
create table if not exists bridge_sent (command text primary key, message text, at timestamptz default now());
"""
STREAMS = {
    "BRIDGE_IN": ("bridge.in.>", stream.MESSAGES_INBOUND),
    "BRIDGE_OUT": ("bridge.out.>", stream.MESSAGES_OUTBOUND),
}
UNACKED = 1024
AT_ONCE = 64
WORKING: set[asyncio.Task[None]] = set()


def sign(key: bytes, webhook_id: str, timestamp: str, body: bytes) -> str:
    """A Standard Webhooks signature."""
    signed = b".".join((webhook_id.encode(), timestamp.encode(), body))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def headers_of(message_id: str, kind: str, trace: str = "", correlation: str = "") -> dict[str, str]:
    """The headers that Penstock's messages have, under the same names and of the same length."""
    trace, correlation = trace or secrets.token_hex(16), correlation or secrets.token_hex(16)
    return {
        "tenant-id": "bench",
        "x-correlation-id": correlation,
        "traceparent": f"00-{trace}-{secrets.token_hex(8)}-01",
        "correlation-id": correlation,
        "trace-id": trace,
        "Nats-Msg-Id": f"bench:{message_id}",
        "penstock-type": kind,
    }


class Bridge:
    """Between the platform and the bus, for one account."""

    def __init__(self, secret: str, platform_url: str, pool: asyncpg.Pool, bus: JetStreamContext) -> None:
        self._key = base64.b64decode(secret.removeprefix("whsec_"))
        self._platform_url, self._pool, self._bus = platform_url, pool, bus
        self._http = httpx.AsyncClient(timeout=10, limits=httpx.Limits(max_connections=128))

    async def webhook(self, request: Request) -> Response:
        """Verify, insert, publish, answer."""
        body = await request.body()
        webhook_id, stamp = request.headers["webhook-id"], request.headers["webhook-timestamp"]
        genuine = hmac.compare_digest(sign(self._key, webhook_id, stamp, body), request.headers["webhook-signature"])
        if not genuine or abs(time.time() - int(stamp)) > 300:
            return JSONResponse({"error": "signature"}, status_code=401)
        event = json.loads(body)
        await self._pool.execute(
            "insert into bridge_message values ($1, $2, $3) on conflict do nothing", "bench", event["id"], body
        )
        headers = headers_of(event["id"], "penstock.v1.Message")
        await self._bus.publish("bridge.in." + event["data"]["conversation"], body, headers=headers)
        return Response(status_code=200)

    async def send(self, message: Msg) -> None:
        """Post what the app said, write that it was, acknowledge."""
        command = json.loads(message.data)["data"]["command_id"]
        stamp = str(int(time.time()))
        headers = {
            "content-type": "application/json",
            "webhook-id": command,
            "webhook-timestamp": stamp,
            "webhook-signature": sign(self._key, command, stamp, message.data),
        }
        answer = await self._http.post(self._platform_url, content=message.data, headers=headers)
        answer.raise_for_status()
        await self._pool.execute(
            "insert into bridge_sent (command, message) values ($1, $2) on conflict do nothing",
            command,
            answer.json()["message_id"],
        )
        await message.ack()


class App:
    """Answers what was said."""

    def __init__(self, bus: JetStreamContext) -> None:
        self._bus = bus

    async def answer(self, message: Msg) -> None:
        """Publish the answer, then acknowledge."""
        event = json.loads(message.data)
        command = hashlib.sha256(event["id"].encode()).hexdigest()[:32]
        data = {
            "command_id": command,
            "account": "bench",
            "conversation": event["data"]["conversation"],
            "text": f"You said: {event['data']['text']}",
            "app": "echo",
            "cause_event_id": event["id"],
            "reply_to": event["data"]["message_id"],
        }
        body = {"type": "message.send", "data": data, "timestamp": datetime.now(UTC).isoformat()}
        found = message.headers or {}
        headers = headers_of(command, "penstock.v1.SendCommand", found["trace-id"], found["correlation-id"])
        await self._bus.publish("bridge.out." + data["conversation"], json.dumps(body).encode(), headers=headers)
        await message.ack()


async def subscribe(bus: JetStreamContext, name: str, handle: Callable[[Msg], Awaitable[None]]) -> None:
    """Handle messages as they come, as many at once as Penstock does; what fails is delivered again."""
    subjects, _ = STREAMS[name]
    waiting: asyncio.Queue[Msg] = asyncio.Queue()

    async def work() -> None:
        while True:
            message = await waiting.get()
            with contextlib.suppress(httpx.HTTPError, nats.errors.Error, asyncpg.PostgresError, OSError):
                await handle(message)

    WORKING.update(asyncio.create_task(work()) for _ in range(AT_ONCE))
    config = nats.js.api.ConsumerConfig(max_ack_pending=UNACKED)
    await bus.subscribe(subjects, durable=name.lower(), stream=name, cb=waiting.put, manual_ack=True, config=config)


@contextlib.asynccontextmanager
async def connected() -> AsyncGenerator[tuple[Client, JetStreamContext]]:
    """The bus, with streams that hold what Penstock's hold."""
    client = await nats.connect(os.environ["BRIDGE_NATS_URL"])
    bus = client.jetstream()
    try:
        for name, (subjects, policy) in STREAMS.items():
            await bus.add_stream(
                name=name,
                subjects=[subjects],
                storage=nats.js.api.StorageType.FILE,
                max_age=policy.max_age_s,
                max_bytes=policy.max_bytes,
                duplicate_window=policy.duplicate_window_s,
            )
        yield client, bus
    finally:
        await client.close()


async def serve_bridge(stop: asyncio.Event) -> None:
    """The webhook's door and the way out."""
    pool = await asyncpg.create_pool(os.environ["BRIDGE_POSTGRES_URL"], min_size=8, max_size=8)
    async with pool, connected() as (_, bus):
        await pool.execute(TABLES)
        bridge = Bridge(os.environ["BRIDGE_SECRET"], os.environ["BRIDGE_PLATFORM_URL"], pool, bus)
        await subscribe(bus, "BRIDGE_OUT", bridge.send)
        application = Starlette(routes=[Route("/webhook", bridge.webhook, methods=["POST"])])
        server = uvicorn.Server(
            uvicorn.Config(
                application,
                port=0,
                loop="none",
                http="httptools",
                log_config=None,
                access_log=False,
                timeout_keep_alive=75,  # as ours: a client's connection may rest for longer than uvicorn's 5 s
            )
        )
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn tells it no other way
            await asyncio.sleep(0.01)
        tell(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/webhook")
        await stop.wait()
        server.should_exit = True
        await serving


async def serve_app(stop: asyncio.Event) -> None:
    """The app, in a process of its own as Penstock's is."""
    async with connected() as (_, bus):
        await subscribe(bus, "BRIDGE_IN", App(bus).answer)
        tell("ready")
        await stop.wait()


def tell(line: str) -> None:
    """Say that the process is ready."""
    print(line, flush=True)


async def main(part: str) -> None:
    """Run one of the two processes until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await {"bridge": serve_bridge, "app": serve_app}[part](stop)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1]))
