"""Calls of the JetStream API: ask, wait for the server through outages, and read the answer."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec
from nats.aio.msg import Msg

from penstock.base import errors
from penstock.spine import ports
from penstock.spine.adapters import nats_answers, nats_link

API: Final = "$JS.API"
TRY_S: Final = 3.0
PAUSE_S: Final = 0.1
NOBODY: Final = "503"


class Calls:
    """What the other parts ask of the server. `deadline_s` is how long one call waits for the world to come back."""

    def __init__(self, link: nats_link.Link, deadline_s: float) -> None:
        self.link, self._deadline_s = link, deadline_s

    async def api(
        self, subject: str, request: Mapping[str, Any] | None = None, *, timeout_s: float | None = None
    ) -> dict[str, Any]:
        """One idempotent call; tried again until an answer comes or time is over. Raises as the answer says."""
        body = msgspec.json.encode(request) if request else b""
        return nats_answers.result((await self.ask(f"{API}.{subject}", body, timeout_s=timeout_s)).data)

    async def ask(self, subject: str, body: bytes = b"", *, timeout_s: float | None = None) -> Msg:
        """One idempotent question, asked again until somebody answers. Raises Unavailable when time is over."""
        loop = asyncio.get_running_loop()
        until = loop.time() + (timeout_s or self._deadline_s)
        while True:
            left_s = until - loop.time()
            try:
                answer = await self.link.call(subject, body, timeout_s=max(0.01, min(TRY_S, left_s)))
                if nats_link.status(answer) != NOBODY:
                    return answer
                raise errors.Unavailable("no_jetstream", "NATS answers, JetStream does not")
            except errors.Unavailable as error:
                if left_s <= PAUSE_S or error.code == "spine_closed":
                    raise
                await asyncio.sleep(PAUSE_S)

    async def store(self, subject: str, body: bytes, headers: Mapping[str, str]) -> ports.Published:
        """Publish into a stream and wait until the server has it.

        An attempt whose answer is lost is made again with the same message id, so that the stream drops the second.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self._deadline_s
        while True:
            left_s = until - loop.time()
            try:
                answer = await self.link.call(subject, body, timeout_s=max(0.01, min(TRY_S, left_s)), headers=headers)
            except errors.Unavailable as error:
                if until - loop.time() <= 0 or error.code == "spine_closed":
                    raise
                continue
            if not nats_link.status(answer):
                return nats_answers.published(answer.data)
            await self._check_taken(subject, max(0.01, left_s))
            if until - loop.time() <= 0:
                raise errors.Unavailable("no_leader", "the stream does not answer")
            await asyncio.sleep(PAUSE_S)

    async def _check_taken(self, subject: str, timeout_s: float) -> None:
        """Nobody took a message: because no stream does (Rejected), or because its leader is away for now (return)."""
        names = await self.api("STREAM.NAMES", {"subject": subject}, timeout_s=timeout_s)
        if not names.get("streams"):
            raise errors.Rejected("no_stream", "no stream takes messages of this subject", status=404)

    async def stream_info(self, name: str) -> dict[str, Any]:
        """The stream's configuration and state. Raises Rejected `no_stream`."""
        return await self.api(f"STREAM.INFO.{name}")

    async def stream_state(self, name: str) -> dict[str, Any]:
        """The stream's state: `last_seq` above all. Raises Rejected `no_stream`."""
        return cast("dict[str, Any]", (await self.stream_info(name))["state"])

    async def create_consumer(self, stream: str, config: Mapping[str, Any]) -> dict[str, Any]:
        """Make a consumer, never change one: the same again is fine. Raises Rejected `consumer_exists` else."""
        request = {"stream_name": stream, "config": config, "action": "create"}
        return await self.api(f"CONSUMER.CREATE.{stream}.{config['name']}.{config['filter_subject']}", request)
