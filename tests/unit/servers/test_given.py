"""URLs that replace servers are read as the servers' clients read them, and never repeated."""

import pytest

from penstock.base import errors
from penstock.servers import given
from penstock.servers.endpoints import NatsEndpoint, PostgresEndpoint


def test_a_cluster_with_credentials():
    found = given.nats_endpoint("nats://me:p%40ss@one.example:4223, tls://two.example,nats://[::1]:4")
    assert found == NatsEndpoint("nats://one.example:4223,tls://two.example:4222,nats://[::1]:4", "me", "p@ss", "")
    assert given.nats_places(found.url) == [("one.example", 4223), ("two.example", 4222), ("::1", 4)]
    assert found.url_with_credentials().startswith("nats://me:p%40ss@one.example:4223,tls://me:p%40ss@two")
    assert "p@ss" not in repr(found)


def test_without_credentials_nothing_is_added():
    assert given.nats_endpoint("nats://localhost").url_with_credentials() == "nats://localhost:4222"


@pytest.mark.parametrize(
    "url",
    ["", "localhost:4222", "http://h:1", "nats://", "nats://h:port", "nats://h:1/x", "nats://s3cret@h,", "nats://["],
)
def test_what_is_no_nats_url(url):
    with pytest.raises(errors.Rejected) as refused:
        given.nats_endpoint(url)
    assert refused.value.field == "servers.nats_url"
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "places"),
    [
        ("postgresql://u:p%40@db.example/x", [("db.example", 5432)]),
        ("postgres://u:p@a:1,[::1]:2,c/x", [("a", 1), ("::1", 2), ("c", 5432)]),
        ("postgresql:///x?host=/run/pg&port=6", [("/run/pg", 6)]),
        ("postgresql://%2Frun%2Fpg:7/x", [("/run/pg", 7)]),
        ("host=a,b port=5 user=u password='a b'", [("a", 5), ("b", 5)]),
        ("dbname=x", [("localhost", 5432)]),
    ],
)
def test_where_libpq_would_look(url, places):
    assert given.postgres_places(url) == places


@pytest.mark.parametrize(
    "url", ["http://h/x", "postgresql://u:s3cret@h:port/x", "s3cret", "host=a port=1,2", "host='a"]
)
def test_what_is_no_postgres_url(url):
    with pytest.raises(errors.Rejected) as refused:
        given.postgres_places(url)
    assert refused.value.field == "servers.postgres_url"
    assert "s3cret" not in str(refused.value)


def test_a_postgres_url_survives_strange_characters():
    endpoint = PostgresEndpoint("/a b/ü", 5432, "postgres", "p:@/?#", "penstock")
    assert endpoint.url() == "postgresql://postgres:p%3A%40%2F%3F%23@%2Fa%20b%2F%C3%BC:5432/penstock"
    assert given.postgres_places(endpoint.url()) == [("/a b/ü", 5432)]
    assert endpoint.url(user="room", password="x", dbname="y").startswith("postgresql://room:x@")
    assert "p:@" not in repr(endpoint)
