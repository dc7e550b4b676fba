"""The bench that the payload suite works on: clients of one store, time, an outage, and an attacker in the bucket."""

import abc
import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, Final, TypeVar

from penstock.base import errors
from penstock.spine import payload

T = TypeVar("T")
Raised = TypeVar("Raised", bound=errors.PenstockError)

CHUNK_BYTES: Final = 128 << 10
LIMIT_BYTES: Final = 2 << 20
BUCKET: Final = payload.BucketPolicy("parser", max_bytes=3 << 20, longest_s=3600.0)
TERMS: Final = payload.Terms(lifetime_s=600)
WITHIN_S: Final = 15.0
STEP_S: Final = 0.02


class PayloadBench(abc.ABC):
    """One store and its clients, which take at most `LIMIT_BYTES` a payload; whoever makes it closes it."""

    @abc.abstractmethod
    async def connect(self, *, deadline_s: float = 15.0) -> payload.Payloads:
        """Another client. Calls of it wait `deadline_s` for an outage to end."""

    @abc.abstractmethod
    async def connect_fenced(self) -> payload.Payloads:
        """A client with nothing but what a sandboxed worker of `BUCKET.component` may reach."""

    @abc.abstractmethod
    async def elapse(self, duration_s: float) -> None:
        """Let time pass, as the store and its clients measure it."""

    @abc.abstractmethod
    async def interrupt(self) -> None:
        """No client reaches the store any more; returns when the clients have noticed."""

    @abc.abstractmethod
    async def restore(self) -> None:
        """The store may be reached again; clients need a moment to notice."""

    @abc.abstractmethod
    async def chunks(self, reference: payload.Reference) -> list[bytes]:
        """What the bucket holds of an object, as anybody with the component's credentials sees it."""

    @abc.abstractmethod
    async def plant(self, reference: payload.Reference, chunks: list[bytes]) -> None:
        """Replace what the bucket holds of an object, as anybody with the component's credentials may."""

    @abc.abstractmethod
    async def held_bytes(self) -> int:
        """How much the bucket of `BUCKET` holds."""

    @abc.abstractmethod
    async def close(self) -> None:
        """Close every client."""

    async def opened(self) -> payload.Payloads:
        """A client whose bucket is there."""
        payloads = await self.connect()
        await payloads.provide(BUCKET)
        return payloads

    async def until(self, condition: Callable[[], Coroutine[Any, Any, bool]]) -> None:
        """Let time pass until something is so. Raises AssertionError when it takes too long."""
        waited_s = 0.0
        while not await condition():
            assert waited_s < WITHIN_S, f"waited {WITHIN_S:g} s in vain"
            await self.elapse(STEP_S)
            waited_s += STEP_S

    async def result(self, work: Coroutine[Any, Any, T]) -> T:
        """What a call that needs time to pass returns or raises."""
        task = asyncio.create_task(work)

        async def done() -> bool:
            return task.done()

        await self.until(done)
        return await task


def content(size_bytes: int, *, seed: str = "") -> bytes:
    """So many bytes, all chunks different."""
    return hashlib.shake_128(f"{seed}{size_bytes}".encode()).digest(size_bytes)


async def parts(whole: bytes, *, size_bytes: int = 50_000) -> AsyncGenerator[bytes]:
    """The same bytes in parts that fit no chunk."""
    for begin in range(0, len(whole), size_bytes):
        yield whole[begin : begin + size_bytes]


async def read(payloads: payload.Payloads, tenant: str, reference: payload.Reference) -> bytes:
    """All of a payload."""
    return b"".join([piece async for piece in payloads.get(tenant, reference)])


async def refusal(work: Coroutine[Any, Any, Any]) -> str:
    """The code of the error that a call raises."""
    try:
        returned = await work
    except errors.PenstockError as error:
        return error.code
    raise AssertionError(f"expected an error, got {returned!r:.100}")
