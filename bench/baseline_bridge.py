"""What people glue together by hand: Starlette, asyncpg, nats-py and httpx, with the same durability and bodies.

A webhook is verified (Standard Webhooks), one row is inserted on conflict do nothing, the message is published and its
PubAck awaited, then 200. An app fetches, answers by publishing; a sender fetches, posts to the platform, writes a row and
acknowledges. No lanes, no receipts, no outbox, no quarantine, no tenants: it is the least that could be called a loop.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import AsyncGenerator
from typing import Any

import asyncpg
import httpx
import nats
import uvicorn
from nats.js import JetStreamContext
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

TABLES = """
create table if not exists bridge_message (account text, event text, body bytea, primary key (account, event));
create table if not exists bridge_sent (command text primary key, at timestamptz default now());
"""


def _sign(key: bytes, webhook_id: str, timestamp: str, body: bytes) -> str:
    signed = b".".join((webhook_id.encode(), timestamp.encode(), body))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


class Bridge:
    """The hand-glued loop for one account."""

    def __init__(self, secret: str, platform_url: str) -> None:
        self._key = base64.b64decode(secret.removeprefix("whsec_"))
        self._platform_url = platform_url
        self._pool: asyncpg.Pool[Any]
        self._stream: JetStreamContext
        self._http = httpx.AsyncClient(timeout=10)

    async def webhook(self, request: Request) -> Response:
        """Verify, insert, publish, answer."""
        body = await request.body()
        webhook_id, stamp = request.headers["webhook-id"], request.headers["webhook-timestamp"]
        expected = _sign(self._key, webhook_id, stamp, body)
        if not hmac.compare_digest(expected, request.headers["webhook-signature"]) or abs(time.time() - int(stamp)) > 300:
            return JSONResponse({"error": "signature"}, status_code=401)
        event = json.loads(body)
        await self._pool.execute(
            "insert into bridge_message values ($1, $2, $3) on conflict do nothing", "bridge", event["id"], body
        )
        headers = {"Nats-Msg-Id": f"bridge:{event['id']}", "tenant-id": "bridge", "penstock-type": "Message"}
        await self._stream.publish("bridge.in." + event["data"]["conversation"], body, headers=headers)
        return Response(status_code=200)

    async def app(self) -> None:
        """Fetch what was said and answer it."""
        pull = await self._stream.pull_subscribe("bridge.in.>", durable="app", stream="BRIDGE_IN")
        while True:
            with contextlib.suppress(TimeoutError):
                for message in await pull.fetch(64, timeout=1):
                    event = json.loads(message.data)
                    command = hashlib.sha256(event["id"].encode()).hexdigest()[:32]
                    data = {
                        "command_id": command,
                        "account": "bridge",
                        "conversation": event["data"]["conversation"],
                        "text": f"You said: {event['data']['text']}",
                        "reply_to": event["data"]["message_id"],
                    }
                    await self._stream.publish(
                        "bridge.out." + data["conversation"],
                        json.dumps({"type": "message.send", "data": data}).encode(),
                        headers={"Nats-Msg-Id": f"bridge:{command}", "tenant-id": "bridge", "penstock-type": "SendCommand"},
                    )
                    await message.ack()

    async def sender(self) -> None:
        """Fetch what the app said and post it, sixty-four at a time."""
        pull = await self._stream.pull_subscribe("bridge.out.>", durable="sender", stream="BRIDGE_OUT")
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.gather(*(self._post(message) for message in await pull.fetch(64, timeout=1)))

    async def _post(self, message: Any) -> None:
        command = json.loads(message.data)["data"]["command_id"]
        stamp = str(int(time.time()))
        headers = {
            "content-type": "application/json",
            "webhook-id": command,
            "webhook-timestamp": stamp,
            "webhook-signature": _sign(self._key, command, stamp, message.data),
        }
        answer = await self._http.post(self._platform_url, content=message.data, headers=headers)
        answer.raise_for_status()
        await self._pool.execute("insert into bridge_sent (command) values ($1) on conflict do nothing", command)
        await message.ack()

    @contextlib.asynccontextmanager
    async def running(
        self, postgres: dict[str, Any], nats_options: dict[str, Any]
    ) -> AsyncGenerator[str]:
        """Yields the URL of the webhook."""
        self._pool = await asyncpg.create_pool(**postgres, min_size=8, max_size=8)
        await self._pool.execute(TABLES)
        connection = await nats.connect(**nats_options)
        self._stream = connection.jetstream()
        for name, subjects in (("BRIDGE_IN", "bridge.in.>"), ("BRIDGE_OUT", "bridge.out.>")):
            await self._stream.add_stream(name=name, subjects=[subjects], duplicate_window=120)
        application = Starlette(routes=[Route("/webhook", self.webhook, methods=["POST"])])
        server = uvicorn.Server(
            uvicorn.Config(application, port=0, loop="none", http="httptools", log_config=None, access_log=False)
        )
        tasks = [asyncio.create_task(work) for work in (server.serve(), self.app(), self.sender())]
        try:
            while not server.started:
                await asyncio.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            yield f"http://127.0.0.1:{port}/webhook"
        finally:
            server.should_exit = True
            for task in tasks[1:]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._http.aclose()
            await connection.close()
            await self._pool.close()
