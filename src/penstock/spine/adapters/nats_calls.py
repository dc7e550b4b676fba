"""Calls of the JetStream API: ask, wait for the server through outages, and read the answer."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final, TypeVar, cast

import msgspec
from nats.aio.msg import Msg

from penstock.base import errors
from penstock.spine import ports
from penstock.spine.adapters import nats_answers, nats_link

TRY_S: Final = 3.0
PAUSE_S: Final = 0.05
NOBODY: Final = "503"
ERASED_AT_ONCE: Final = 8
FOR_THE_CALLER: Final = frozenset({"spine_closed", "stream_full", "storage_full"})
"""What more attempts in the next seconds do not mend."""

T = TypeVar("T")


class Calls:
    """What the other parts ask of the server. `deadline_s` is how long one call waits for the world to come back."""

    def __init__(self, link: nats_link.Link, deadline_s: float) -> None:
        self.link, self._deadline_s = link, deadline_s

    async def api(
        self, subject: str, request: Mapping[str, Any] | None = None, *, timeout_s: float | None = None
    ) -> dict[str, Any]:
        """One idempotent call of the JetStream API. Raises as the answer says, Unavailable when time is over."""
        body = msgspec.json.encode(request) if request else b""
        where = f"{self.link.address.api_prefix}.{subject}"

        async def attempt(try_s: float) -> dict[str, Any]:
            return nats_answers.result((await self._heard(where, body, try_s)).data)

        return await self._persist(attempt, timeout_s)

    async def _heard(self, subject: str, body: bytes, try_s: float) -> Msg:
        answer = await self.link.call(subject, body, timeout_s=try_s)
        if nats_link.status(answer) == NOBODY:
            raise errors.Unavailable("no_jetstream", "NATS answers, JetStream does not")
        return answer

    async def store(self, subject: str, body: bytes, headers: Mapping[str, str]) -> ports.Published:
        """Publish into a stream and wait until the server has it.

        An attempt whose answer is lost is made again with the same message id, so that the stream drops the second.
        """

        async def attempt(try_s: float) -> ports.Published:
            answer = await self.link.call(subject, body, timeout_s=try_s, headers=headers)
            if not nats_link.status(answer):
                return nats_answers.published(answer.data)
            await self.check_taken(subject, try_s)
            raise errors.Unavailable("no_leader", "the stream does not answer")

        return await self._persist(attempt)

    async def check_taken(self, subject: str, timeout_s: float) -> None:
        """Nobody took a message: because no stream does (Rejected), or because its leader is away for now (return)."""
        names = await self.api("STREAM.NAMES", {"subject": subject}, timeout_s=timeout_s)
        if not names.get("streams"):
            raise errors.Rejected("no_stream", "no stream takes messages of this subject", status=404)

    async def _persist(self, attempt: Callable[[float], Awaitable[T]], timeout_s: float | None = None) -> T:
        """Make an attempt (told how many seconds it has) again while the world is away and there is time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + (self._deadline_s if timeout_s is None else timeout_s)
        while True:
            try:
                return await attempt(max(0.01, min(TRY_S, until - loop.time())))
            except errors.Unavailable as error:
                if error.code in FOR_THE_CALLER or until - loop.time() <= PAUSE_S:
                    raise
            await asyncio.sleep(PAUSE_S)

    async def stream_info(self, name: str) -> dict[str, Any]:
        """The stream's configuration and state. Raises Rejected `no_stream`."""
        return await self.api(f"STREAM.INFO.{name}")

    async def stream_state(self, name: str) -> dict[str, Any]:
        """The stream's state: `last_seq` above all. Raises Rejected `no_stream`."""
        return cast("dict[str, Any]", (await self.stream_info(name))["state"])

    async def create_consumer(self, stream: str, config: Mapping[str, Any]) -> dict[str, Any]:
        """Make a consumer, never change one: the same again is fine. Raises Rejected `consumer_exists` else."""
        return await self._see_to_consumer("create", stream, config)

    async def update_consumer(self, stream: str, config: Mapping[str, Any]) -> dict[str, Any]:
        """Change a consumer, never make one. Raises Rejected `no_consumer`, `consumer_refused`."""
        return await self._see_to_consumer("update", stream, config)

    async def _see_to_consumer(self, action: str, stream: str, config: Mapping[str, Any]) -> dict[str, Any]:
        request = {"stream_name": stream, "config": config, "action": action}
        subject = f"CONSUMER.CREATE.{stream}.{config['name']}"
        return await self.api(
            f"{subject}.{config['filter_subject']}" if "filter_subject" in config else subject, request
        )

    async def stream_names(self) -> list[str]:
        """Every stream, page by page."""
        found: list[str] = []
        while True:
            page = await self.api("STREAM.NAMES", {"offset": len(found)})
            names = cast("list[str]", page.get("streams") or [])
            found += names
            if not names or len(found) >= page.get("total", 0):
                return found

    async def consumer_infos(self, stream: str) -> list[dict[str, Any]]:
        """Every durable of a stream, page by page. Raises Rejected `no_stream`."""
        found: list[dict[str, Any]] = []
        while True:
            page = await self.api(f"CONSUMER.LIST.{stream}", {"offset": len(found)})
            consumers = cast("list[dict[str, Any]]", page.get("consumers") or [])
            found += consumers
            if not consumers or len(found) >= page.get("total", 0):
                return [info for info in found if info["config"].get("durable_name")]

    async def erase(self, stream: str, sequences: Collection[int]) -> int:
        """Delete messages and overwrite them in the store, a few at once; returns how many were there.

        Each costs the server a write that it waits for. Raises Rejected `no_stream`.
        """
        turns = asyncio.Semaphore(ERASED_AT_ONCE)

        async def one(sequence: int) -> bool:
            async with turns:
                return await self._erase(stream, sequence)

        return sum(await asyncio.gather(*map(one, sequences)))

    async def _erase(self, stream: str, sequence: int) -> bool:
        try:
            await self.api(f"STREAM.MSG.DELETE.{stream}", {"seq": sequence, "no_erase": False})
        except errors.Rejected as error:
            if error.code != "no_message":
                raise
            return False
        return True

    async def floor(self, stream: str, info: Mapping[str, Any]) -> int:
        """The sequence up to which everything of a durable is settled, from what the server said about it.

        The server's own floor moves when something is acknowledged. With nothing un-acked it is where delivery is, and
        between it and the first un-acked message may stand any number of messages that the filter does not let through.
        """
        floor, delivered = int(info["ack_floor"]["stream_seq"]), int(info["delivered"]["stream_seq"])
        if info["num_ack_pending"] == 0:
            return max(floor, delivered)
        config = info["config"]
        filters = config.get("filter_subjects") or [config.get("filter_subject", ">")]
        found = await asyncio.gather(*(self._first_behind(stream, floor, pattern) for pattern in filters))
        return max(floor, min((sequence for sequence in found if sequence), default=0) - 1)

    async def _first_behind(self, stream: str, sequence: int, pattern: str) -> int:
        """The sequence of the first message behind another that a pattern lets through; 0 without any."""
        try:
            found = await self.api(f"STREAM.MSG.GET.{stream}", {"seq": sequence + 1, "next_by_subj": pattern})
        except errors.Rejected as error:
            if error.code != "no_message":
                raise
            return 0
        return int(found["message"]["seq"])
