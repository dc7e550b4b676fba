"""Addresses of NATS servers: read once, and never shown with a secret."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors
from penstock.spine.plane import address


@pytest.mark.parametrize(
    ("url", "servers", "user", "password", "token"),
    [
        ("nats://127.0.0.1:4222", ("nats://127.0.0.1:4222",), "", "", ""),
        ("nats.internal", ("nats://nats.internal:4222",), "", "", ""),
        ("tls://u:p@host:1", ("tls://host:1",), "u", "p", ""),
        ("nats://u:p%40s%3As@[::1]:4222", ("nats://[::1]:4222",), "u", "p@s:s", ""),
        ("nats://u:p@a:1, nats://u:p@b:2", ("nats://a:1", "nats://b:2"), "u", "p", ""),
        ("nats://token@a:1", ("nats://a:1",), "", "", "token"),
    ],
)
def test_an_address_is_read(url: str, servers: tuple[str, ...], user: str, password: str, token: str) -> None:
    read = address.address(url, name="core")
    who = read.credentials
    assert (read.servers, read.name) == (servers, "core")
    assert (who.user, who.password, who.token) == (user, password, token)


def test_credentials_given_apart_come_first() -> None:
    read = address.address("nats://u:p@a:1", user="other", password="word")
    assert (read.credentials.user, read.credentials.password) == ("other", "word")


@pytest.mark.parametrize("url", ["", "http://a", "nats://", "nats://a:b", "nats://a:99999", "nats://a/path", "a b:x"])
def test_what_is_no_address_is_rejected(url: str) -> None:
    with pytest.raises(errors.Rejected) as refused:
        address.address(url)
    assert (refused.value.code, refused.value.field) == ("nats_url", "nats_url")


@given(st.from_regex(r"[a-z]{12,20}", fullmatch=True))
def test_law_a_secret_is_never_shown(secret: str) -> None:
    read = address.address(f"nats://{secret}:{secret}@host:4222")
    assert secret not in f"{read} {read!r}"
    with pytest.raises(errors.Rejected) as refused:
        address.address(f"http://{secret}:{secret}@host")
    assert secret not in f"{refused.value} {refused.value!r}"


def test_what_urls_cannot_say_stands_beside_them() -> None:
    access = address.Access(token="word", inbox_prefix="_MINE")
    read = address.address("nats://a:1,nats://b:2,nats://a:1", access=access)
    assert (read.servers, read.credentials.token, read.inbox_prefix) == (("nats://a:1", "nats://b:2"), "word", "_MINE")
    assert (read.tls, read.tls_first) == (None, False)
    assert "word" not in f"{read!r} {access!r} {read.credentials!r}"


@pytest.mark.parametrize("urls", ["tls://a:1", "nats://a:1,tls://b:2"])
def test_one_server_in_tls_means_all(urls: str) -> None:
    context = address.address(urls).tls
    assert context is not None
    assert context.check_hostname


def test_tls_from_the_first_byte_is_tls() -> None:
    read = address.address("nats://a:1", access=address.Access(tls_first=True))
    assert read.tls is not None
    assert read.tls_first
