"""The payload store on NATS keeps the promises of a payload store, behind either fence, against a real server."""

from collections.abc import AsyncIterator, Iterator

import pytest

from penstock.spine.testing import payload_bench, payloads
from tests.conformance import payload_bench_nats


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[payload_bench_nats.Server]:
    with payload_bench_nats.running(tmp_path_factory.mktemp("nats")) as server:
        yield server


class TestNatsPayloads(payloads.PayloadConformance):
    @pytest.fixture
    async def payloads_bench(self, server: payload_bench_nats.Server) -> AsyncIterator[payload_bench.PayloadBench]:
        async with payload_bench_nats.empty_bench(server, worker="permitted") as bench:
            yield bench


async def test_a_worker_with_an_account_of_its_own_does_so_too(server: payload_bench_nats.Server) -> None:
    async with payload_bench_nats.empty_bench(server, worker="imported") as bench:
        suite = payloads.PayloadConformance()
        await suite.test_a_fenced_worker_reads_its_input_and_writes_its_results(bench)
        assert await bench.held_bytes() == 0
