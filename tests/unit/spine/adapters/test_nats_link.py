"""Addresses of NATS servers: read once, and never shown with a secret."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors
from penstock.spine.adapters import nats_link


@pytest.mark.parametrize(
    ("url", "servers", "user", "password"),
    [
        ("nats://127.0.0.1:4222", ("nats://127.0.0.1:4222",), "", ""),
        ("nats.internal", ("nats://nats.internal:4222",), "", ""),
        ("tls://u:p@host:1", ("tls://host:1",), "u", "p"),
        ("nats://u:p%40s%3As@[::1]:4222", ("nats://[::1]:4222",), "u", "p@s:s"),
        ("nats://u:p@a:1, nats://u:p@b:2", ("nats://a:1", "nats://b:2"), "u", "p"),
        ("nats://token@a:1", ("nats://a:1",), "token", ""),
    ],
)
def test_an_address_is_read(url: str, servers: tuple[str, ...], user: str, password: str) -> None:
    read = nats_link.address(url, name="core")
    assert (read.servers, read.user, read.password, read.name) == (servers, user, password, "core")


def test_credentials_given_apart_come_first() -> None:
    read = nats_link.address("nats://u:p@a:1", user="other", password="word")
    assert (read.user, read.password) == ("other", "word")


@pytest.mark.parametrize("url", ["", "http://a", "nats://", "nats://a:b", "nats://a:99999", "nats://a/path", "a b:x"])
def test_what_is_no_address_is_rejected(url: str) -> None:
    with pytest.raises(errors.Rejected) as refused:
        nats_link.address(url)
    assert (refused.value.code, refused.value.field) == ("nats_url", "nats_url")


@given(st.from_regex(r"[a-z]{12,20}", fullmatch=True))
def test_law_a_secret_is_never_shown(secret: str) -> None:
    read = nats_link.address(f"nats://{secret}:{secret}@host:4222")
    assert secret not in f"{read} {read!r}"
    with pytest.raises(errors.Rejected) as refused:
        nats_link.address(f"http://{secret}:{secret}@host")
    assert secret not in f"{refused.value} {refused.value!r}"
