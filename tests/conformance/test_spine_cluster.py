"""The transport keeps the spine's promises on three clustered servers, with three copies of every stream."""

from collections.abc import AsyncIterator

import pytest

from penstock.spine.testing import bench as benches
from penstock.spine.testing import conformance
from tests import cluster
from tests.conformance import cluster_bench


class TestNatsSpineOnACluster(conformance.SpineConformance):
    @pytest.fixture
    async def bench(self, nats_cluster: cluster.Cluster) -> AsyncIterator[benches.Bench]:
        async with cluster_bench.empty_bench(nats_cluster) as bench:
            yield bench
