"""Real servers for integration tests: one nats-server and one Postgres a session and worker, started when asked for."""

import pytest

from penstock.servers import testing


@pytest.fixture(scope="session")
def nats_endpoint():
    """A nats-server that all tests of this session share: name streams and buckets so that they do not meet."""
    with testing.running(testing.running_nats) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def postgres_endpoint():
    """A Postgres that all tests of this session share, as superuser, with the database `penstock`."""
    with testing.running(testing.running_postgres) as endpoint:
        yield endpoint


@pytest.fixture
def fresh_nats():
    """A nats-server of this test alone."""
    with testing.running(testing.running_nats) as endpoint:
        yield endpoint


@pytest.fixture
def fresh_postgres(postgres_endpoint):
    """An empty database of this test alone on the shared Postgres; roles are shared."""
    with testing.fresh_database(postgres_endpoint) as endpoint:
        yield endpoint


@pytest.fixture
def server_folder():
    """An empty folder that servers may use as their data folder, also when tests run as root (`tmp_path` is not)."""
    with testing.temporary_folder() as path:
        yield path
