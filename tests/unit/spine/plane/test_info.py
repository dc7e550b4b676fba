"""INFO is read as far as it makes sense."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors
from penstock.spine.plane import info


def test_the_fields_that_matter():
    said = (
        b'{"max_payload": 2048, "headers": true, "tls_required": true, "tls_available": true, "nonce": "n", '
        b'"ldm": true, "connect_urls": ["a:1", "b:2"], "server_id": "x"}'
    )
    assert info.read(said) == info.Info(2048, True, True, True, "n", True, ("a:1", "b:2"))


@pytest.mark.parametrize(
    "said",
    [
        b"{}",
        b'{"max_payload": "1", "headers": 1, "nonce": 5, "ldm": "yes", "connect_urls": "a:1"}',
        b'{"max_payload": -5, "connect_urls": null}',
        b'{"max_payload": 0}',
        b'{"max_payload": true}',
    ],
)
def test_fields_of_another_kind_are_as_if_they_were_not_there(said):
    found = info.read(said)
    assert (found.headers, found.nonce, found.lame_duck, found.servers) == (False, "", False, ())
    assert found.max_payload_bytes == info.PAYLOAD_LIMIT_BYTES


@pytest.mark.parametrize("said", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 30_000, b'{"a": NaN'])
def test_what_is_no_object_is_a_violation(said):
    with pytest.raises(errors.Unavailable) as wrong:
        info.read(said)
    assert wrong.value.code == "protocol_error"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(anything)
def test_any_value_in_any_field_is_survived(value):
    fields = ("max_payload", "headers", "tls_required", "tls_available", "nonce", "ldm", "connect_urls")
    found = info.read(json.dumps(dict.fromkeys(fields, value)).encode())
    assert found.max_payload_bytes > 0
    assert all(isinstance(place, str) for place in found.servers)


def test_the_nonce_is_not_shown():
    assert "hush" not in repr(info.read(b'{"nonce": "hush"}'))
