"""The in-memory transport keeps the spine's promises."""

from collections.abc import AsyncIterator

import pytest

from penstock.spine.testing import bench as benches
from penstock.spine.testing import conformance, memory


class TestMemorySpine(conformance.SpineConformance):
    @pytest.fixture
    async def bench(self) -> AsyncIterator[benches.Bench]:
        async with memory.memory_bench() as bench:
            yield bench
