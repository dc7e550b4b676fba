"""A bus with the platform's part played by the test: what people say goes in, what apps ask for comes out."""

import asyncio
import collections
import contextlib
import os
import secrets
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path

from penstock.base import context as contexts
from penstock.base import ids
from penstock.messages.v1 import message_pb2, outbound_pb2
from penstock.servers.endpoints import NatsEndpoint
from penstock.spine import consumer, ports, provision, route, stream, worker
from penstock.spine.adapters import spine_nats

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
ECHO = REPOSITORY / "examples" / "echo" / "app.py"
COUNTING = HERE / "counting.py"
STOP_S = 20.0


def environment(**variables: str) -> dict[str, str]:
    """Our own surroundings without any PENSTOCK_... variable, and with these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    return {**kept, **variables}


async def until(condition: Callable[[], bool], *, within_s: float = 30.0) -> None:
    """Return when something is so. Raises TimeoutError."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)


class Replica:
    """An app as its own process; `said` are the lines of its standard error."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: list[str] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.said.append(line.decode().rstrip("\n"))

    async def ready(self) -> "Replica":
        """Return once it takes messages."""
        await until(lambda: any('"app listens"' in line for line in self.said) or self.process.returncode is not None)
        assert self.process.returncode is None, self.said
        return self

    async def ended(self) -> tuple[int, list[str]]:
        """Its exit code and everything it said, once it has ended."""
        async with asyncio.timeout(STOP_S):
            code = await self.process.wait()
            await self._reading
        return code, self.said

    async def stop(self) -> int:
        """SIGTERM; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return (await self.ended())[0]

    async def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        await self.ended()


@contextlib.asynccontextmanager
async def replica(app: Path, environ: Mapping[str, str], *, pass_fds: tuple[int, ...] = ()) -> AsyncGenerator[Replica]:
    """Run an app until the end of the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(app),
        env=dict(environ),
        stderr=asyncio.subprocess.PIPE,
        stdin=asyncio.subprocess.DEVNULL,
        pass_fds=pass_fds,
    )
    made = Replica(process)
    try:
        yield made
    finally:
        if process.returncode is None:
            process.kill()
        await made.ended()


class Stage:
    """One tenant's conversations on a real bus."""

    def __init__(self, endpoint: NatsEndpoint, spine: ports.Spine) -> None:
        self.endpoint, self.spine = endpoint, spine
        self.tenant = ids.tenant_id(f"t-{secrets.token_hex(4)}")
        self.deliveries: list[ports.Delivery] = []
        self.commands: list[outbound_pb2.SendCommand] = []
        policy = consumer.ConsumerPolicy(
            f"test_{self.tenant}", stream.MESSAGES_OUTBOUND.name, f"tenant.{self.tenant}.messages.out.>", concurrency=1
        )
        self._policy, self._worker = policy, worker.Worker(spine, policy, self._collect)

    async def open(self) -> None:
        """Make the streams and begin to collect what apps ask for."""
        await provision.streams(self.spine)
        await provision.durable(self.spine, self._policy)
        await self._worker.start()

    async def close(self) -> None:
        """Stop collecting."""
        await self._worker.drain(0)
        await self.spine.close()

    async def _collect(self, _: contexts.Context, delivery: ports.Delivery) -> None:
        self.deliveries.append(delivery)
        self.commands.append(route.OUTBOUND.decode(delivery.headers, delivery.body))

    async def say(self, conversation: str, text: str) -> contexts.Context:
        """Somebody says something; the event's id is `<conversation>/<text>`."""
        message = message_pb2.Message(
            event_id=f"{conversation}/{text}",
            tenant=self.tenant,
            channel="webhook",
            account="acc-1",
            conversation=conversation,
            message_id=f"m-{conversation}-{text}",
            text=text,
            sender=message_pb2.Sender(id="ann", kind=message_pb2.SENDER_KIND_PERSON),
        )
        message.sent_at.GetCurrentTime()
        context = contexts.start(self.tenant)
        await self.spine.publish(route.INBOUND.encode(context, message))
        return context

    async def answers(self, count: int, *, within_s: float = 30.0) -> list[outbound_pb2.SendCommand]:
        """Commands, each once by its id as outbound does them, when there are `count` of them."""
        try:
            await until(lambda: len({c.command_id for c in self.commands}) >= count, within_s=within_s)
        except TimeoutError:
            have = len({c.command_id for c in self.commands})
            raise AssertionError(f"{have} of {count} answers after {within_s:g} s") from None
        return list({command.command_id: command for command in reversed(self.commands)}.values())[::-1]

    def by_conversation(self) -> dict[str, list[str]]:
        """Texts in the order in which outbound would carry them out, each command once."""
        seen: set[str] = set()
        texts: dict[str, list[str]] = collections.defaultdict(list)
        for command in self.commands:
            if command.command_id not in seen:
                seen.add(command.command_id)
                texts[command.conversation].append(command.text)
        return texts

    def environ(self, **variables: str) -> dict[str, str]:
        """What an app needs to answer here."""
        url = self.endpoint.url_with_credentials()
        return environment(PENSTOCK_NATS_URL=url, PENSTOCK_TENANT=self.tenant, **variables)

    def run(self, app: Path = ECHO, **variables: str) -> contextlib.AbstractAsyncContextManager[Replica]:
        """An app for this tenant."""
        return replica(app, self.environ(**variables))


@contextlib.asynccontextmanager
async def opened(endpoint: NatsEndpoint) -> AsyncGenerator[Stage]:
    """A stage on a running nats-server."""
    spine = await spine_nats.NatsSpine.connect(
        endpoint.url, user=endpoint.user, password=endpoint.password, name="test", wait_s=10
    )
    made = Stage(endpoint, spine)
    await made.open()
    try:
        yield made
    finally:
        await made.close()
