"""A user's nkey, as nats-server and its tools write it."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors
from penstock.spine.adapters import nats_nkey

SEED = "SUAEL6GG2L2HIF7DUGZJGMRUFKXELGGYFMHF76UO2AYBG3K4YLWR3FKC2Q"
"""The example of NATS' own documentation, with the public key that it names."""
PUBLIC = "UD6OU4D3CIOGIDZVL4ANXU3NWXOW5DCDE2YPZDBHPBXCVKHSODUA4FKI"


def test_the_example_of_the_documentation():
    assert nats_nkey.user_key(SEED).public_key == PUBLIC


@pytest.mark.parametrize(
    "text",
    [f"{SEED}\n", f"# mine\n{SEED}", f"--BEGIN SEED--\n{SEED}\n--END SEED--\n"],
)
def test_what_stands_around_it_does_not_matter(text):
    assert nats_nkey.user_key(text).public_key == PUBLIC


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=50))
def test_law_a_seed_that_is_written_is_read_and_signs(seed, nonce):
    key = nats_nkey.user_key(nats_nkey.seed_text(seed))
    ed25519.Ed25519PrivateKey.from_private_bytes(seed).public_key().verify(key.sign(nonce), nonce)
    assert (key.public_key[0], len(key.public_key)) == ("U", 56)


@given(st.integers(2, 56), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_law_one_wrong_character_is_noticed(place, letter):
    wrong = SEED[:place] + letter + SEED[place + 1 :]
    if wrong != SEED:
        with pytest.raises(errors.Rejected) as refused:
            nats_nkey.user_key(wrong)
        assert refused.value.code == "bad_nkey"
        assert wrong not in str(refused.value)


@pytest.mark.parametrize("text", ["", "SU", PUBLIC, SEED[:-1], SEED + "A", SEED.lower(), "SAAEL6GG"])
def test_what_is_no_users_seed_is_refused(text):
    with pytest.raises(errors.Rejected):
        nats_nkey.user_key(text)


def test_an_accounts_seed_says_that_it_is_none_of_a_user():
    account = nats_nkey._encoded(bytes([18 << 3, 0]) + bytes(32))
    assert account.startswith("SA")
    with pytest.raises(errors.Rejected, match="not a user's"):
        nats_nkey.user_key(account)


def test_a_key_does_not_show_its_seed():
    assert repr(nats_nkey.user_key(SEED)) == f"UserKey({PUBLIC})"
