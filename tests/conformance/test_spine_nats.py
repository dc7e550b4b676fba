"""The transport on NATS keeps the spine's promises, against a real server."""

from collections.abc import AsyncIterator, Iterator

import pytest

from penstock.spine.testing import bench as benches
from penstock.spine.testing import conformance
from tests.conformance import nats_bench


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[nats_bench.Server]:
    with nats_bench.running(tmp_path_factory.mktemp("nats")) as server:
        yield server


class TestNatsSpine(conformance.SpineConformance):
    @pytest.fixture
    async def bench(self, server: nats_bench.Server) -> AsyncIterator[benches.Bench]:
        async with nats_bench.empty_bench(server) as bench:
            yield bench
