"""Addresses that `up` hands on."""

import pytest

from penstock.app import up


@pytest.mark.parametrize(
    ("listens", "reached"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "127.0.0.1"),
        ("::1", "[::1]"),
        ("10.0.0.1", "10.0.0.1"),
        ("localhost", "localhost"),
    ],
)
def test_an_address_to_listen_on_becomes_one_to_call(listens, reached):
    assert up._host(listens) == reached
