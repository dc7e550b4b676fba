"""The payload store in memory keeps the promises of a payload store."""

from collections.abc import AsyncIterator

import pytest

from penstock.spine.testing import payload_bench, payload_memory, payloads


class TestMemoryPayloads(payloads.PayloadConformance):
    @pytest.fixture
    async def payloads_bench(self) -> AsyncIterator[payload_bench.PayloadBench]:
        async with payload_memory.memory_payload_bench() as bench:
            yield bench
