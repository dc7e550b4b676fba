"""Where an account may have us post to is an attacker's choice: every trick is refused, and never quoted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors
from penstock.channels.adapters import endpoint


@pytest.mark.parametrize(
    ("url", "secure", "host", "port", "authority", "target"),
    [
        ("https://example.org", True, "example.org", 443, "example.org", "/"),
        ("https://Example.ORG:8443/a/b?c=d", True, "example.org", 8443, "example.org:8443", "/a/b?c=d"),
        ("https://[2001:db8::1]/x", True, "2001:db8::1", 443, "[2001:db8::1]", "/x"),
        ("http://localhost:5000/x", False, "localhost", 5000, "localhost:5000", "/x"),
        ("http://127.0.0.1/x?", False, "127.0.0.1", 80, "127.0.0.1", "/x"),
        ("http://127.9.9.9:1/", False, "127.9.9.9", 1, "127.9.9.9:1", "/"),
        ("http://[::1]:8080/", False, "::1", 8080, "[::1]:8080", "/"),
        (
            "https://xn--bcher-kva.example/%C3%BC",
            True,
            "xn--bcher-kva.example",
            443,
            "xn--bcher-kva.example",
            "/%C3%BC",
        ),
    ],
)
def test_urls_that_we_post_to(url, secure, host, port, authority, target):
    assert endpoint.parse(url) == endpoint.Endpoint(secure, host, port, authority, target)


@pytest.mark.parametrize(
    "url",
    [
        "",
        f"https://{'a' * 64}.example",  # longer than a name's part may be: no resolver takes it
        "example.org",
        "//example.org/x",
        "http://example.org/x",
        "http://127.0.0.1.example.org/x",
        "http://10.0.0.1/x",
        "http://0.0.0.0/x",
        "http://127.1/x",
        "http://2130706433/x",
        "http://localhost.example/x",
        "http://[::ffff:10.0.0.1]/x",
        "ftp://example.org/x",
        "file:///etc/passwd",
        "https://user@example.org/x",
        "https://user:password@example.org/x",
        "https://@example.org/x",
        "https://example.org/x#part",
        "https://example.org/x#",
        "https://example.org:0/x",
        "https://example.org:99999/x",
        "https://example.org:x/x",
        "https:///x",
        "https://exa mple.org/x",
        "https://example.org/a b",
        "https://example.org/\r\nhost: other",
        "https://example.org/\0",
        "https://bücher.example/x",
        "https://example..org/x",
        "https://-example.org/x",
        "https://exa_mple.org\\@other/x",
        "https://[::1/x",
        "https://example.org/" + "x" * 2048,
    ],
)
def test_urls_that_we_refuse_without_quoting_them(url):
    with pytest.raises(errors.Rejected) as caught:
        endpoint.parse(url)
    assert caught.value.field == "config.url"
    assert len(url) < 12 or url not in str(caught.value)


def test_what_is_logged_of_an_endpoint_has_neither_path_nor_query():
    assert str(endpoint.parse("https://example.org/secret-path?token=secret")) == "https://example.org"


@given(st.text(max_size=80), st.sampled_from(["", "https://", "http://localhost", "https://example.org/"]))
def test_no_text_does_anything_but_parse_or_be_refused(text, prefix):
    try:
        parsed = endpoint.parse(prefix + text)
    except errors.Rejected:
        return
    assert parsed.target.startswith("/")
    assert parsed.target.isascii()
    assert not set(parsed.target + parsed.authority + parsed.host) & set("\r\n\0 ")
