"""Sealed chunks open where they belong and nowhere else, and are what the format says."""

import dataclasses

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors
from penstock.spine.adapters import payload_seal

KEY = bytes(range(32))
PLACE = payload_seal.Place("jobs_parser", "acme", "acme_1")
SEAL = payload_seal.Seal(KEY, PLACE)


def refused(seal: payload_seal.Seal, chunk: bytes) -> str:
    with pytest.raises(errors.Poisoned) as error:
        seal.open(chunk)
    return error.value.code


@given(st.integers(0, 2**32 - 1), st.binary(max_size=200), st.booleans())
def test_law_what_was_sealed_opens_and_tells_its_number(number: int, plain: bytes, last: bool) -> None:
    chunk = SEAL.close(number, plain, last=last)
    assert len(chunk) == len(plain) + payload_seal.OVERHEAD_BYTES
    assert (payload_seal.number_of(chunk), payload_seal.is_last(chunk)) == (number, last)
    assert SEAL.open(chunk) == plain


@given(st.binary(min_size=1, max_size=60), st.data())
def test_law_no_bit_can_be_changed(plain: bytes, data: st.DataObject) -> None:
    chunk = bytearray(SEAL.close(3, plain, last=False))
    chunk[data.draw(st.integers(0, len(chunk) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert refused(SEAL, bytes(chunk)) == "payload_forged"


@pytest.mark.parametrize(
    "place",
    [
        dataclasses.replace(PLACE, bucket="jobs_other"),
        dataclasses.replace(PLACE, tenant="twin"),
        dataclasses.replace(PLACE, name="acme_2"),
        payload_seal.Place("jobs_parsera", "cme", "acme_1"),
        payload_seal.Place("jobs_parser", "acmea", "cme_1"),
    ],
)
def test_a_chunk_opens_in_no_other_place(place: payload_seal.Place) -> None:
    assert refused(payload_seal.Seal(KEY, place), SEAL.close(0, b"plain", last=True)) == "payload_forged"


def test_a_chunk_opens_under_no_other_key() -> None:
    assert refused(payload_seal.Seal(bytes(32), PLACE), SEAL.close(0, b"plain", last=True)) == "payload_forged"


@pytest.mark.parametrize("chunk", [b"", b"x", bytes(payload_seal.OVERHEAD_BYTES - 1), b"\0\0\0\0\2" + bytes(40)])
def test_what_is_no_chunk_is_refused(chunk: bytes) -> None:
    with pytest.raises(errors.Poisoned) as error:
        payload_seal.number_of(chunk)
    assert error.value.code == "payload_forged"


def test_the_format_is_frozen() -> None:
    """Written out from the documented format, with nothing of ours but the place's parts."""
    place = b"penstock payload 1" + b"".join(
        len(part).to_bytes(4, "big") + part for part in (b"jobs_parser", b"acme", b"acme_1")
    )
    derived = HKDF(hashes.SHA256(), 32, salt=None, info=place).derive(KEY)
    head = b"\0\0\0\7\1"
    text = AESGCM(derived).encrypt(head + bytes(7), b"plain", place + head)
    assert SEAL.close(7, b"plain", last=True) == head + text
    assert (head + text).hex() == FROZEN


FROZEN = "00000007011ce5c0f98472d8267c3ee74f0da48506437ff52ac9"
