"""The envelope: what is sealed opens where it belongs, unchanged, and nowhere else."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors
from penstock.sealing import model

RING = model.KeyRing(model.KeyEncryptionKey(b"k" * 32))
PLACES = st.builds(model.Place, st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
PLACE = model.Place("acme", "channel-secret", "account 1")


def now(work):
    """What a coroutine that waits for nothing returns: the key in memory is never away."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waited")


def new_key(ring, *place):
    return now(model.new_key(ring.current, *place))


def data_key(generation=1):
    return now(new_key(RING, "acme", "channel-secret", generation).unwrap(RING))


@given(PLACES, st.binary(max_size=2000))
def test_open_gives_back_what_was_sealed(place, plain):
    key = data_key()
    sealed = key.seal(place, plain)
    assert key.open(place, sealed) == plain
    assert len(sealed) == len(plain) + 33
    assert model.generation_of(sealed) == 1


@given(PLACES, PLACES, st.binary(max_size=100))
def test_a_value_does_not_open_in_another_place(place, other, plain):
    key = data_key()
    if place == other:
        assert key.open(other, key.seal(place, plain)) == plain
    else:
        with pytest.raises(errors.Broken):
            key.open(other, key.seal(place, plain))


@given(PLACES, PLACES)
def test_two_places_never_look_the_same(place, other):
    assert (place.associated(1) == other.associated(1)) == (place == other)


@given(st.binary(max_size=50), st.data())
def test_a_changed_bit_anywhere_is_noticed(plain, data):
    key = data_key()
    sealed = bytearray(key.seal(PLACE, plain))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(errors.Broken):
        key.open(PLACE, bytes(sealed))


@given(st.integers(0, 60))
def test_a_value_that_was_cut_short_is_noticed(length):
    key = data_key()
    sealed = key.seal(PLACE, b"thirty bytes of a secret text.")[:length]
    with pytest.raises(errors.Broken):
        key.open(PLACE, sealed)


def test_a_value_of_another_generation_does_not_open():
    sealed = bytearray(data_key().seal(PLACE, b"secret"))
    sealed[4] = 2
    with pytest.raises(errors.Broken):
        data_key(2).open(PLACE, bytes(sealed))


def test_the_same_text_is_never_sealed_the_same_way():
    key = data_key()
    assert len({key.seal(PLACE, b"secret") for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "moved",
    [("globex", "channel-secret", 1), ("acme", "person-1", 1), ("acme", "channel-secret", 2)],
)
def test_a_wrapped_key_does_not_open_in_another_row(moved):
    wrapped = new_key(RING, "acme", "channel-secret", 1)
    with pytest.raises(errors.Broken) as raised:
        now(model.WrappedKey(*moved, wrapped.kek_id, wrapped.wrapped).unwrap(RING))
    assert raised.value.code == "seal_broken"


def test_a_wrapped_key_that_was_changed_does_not_open():
    wrapped = new_key(RING, "acme", "channel-secret", 1)
    for position in range(len(wrapped.wrapped)):
        changed = bytearray(wrapped.wrapped)
        changed[position] ^= 1
        with pytest.raises(errors.Broken):
            now(model.WrappedKey("acme", "channel-secret", 1, wrapped.kek_id, bytes(changed)).unwrap(RING))


def test_the_old_key_still_opens_and_the_new_one_wraps():
    old, new = model.KeyEncryptionKey(os.urandom(32)), model.KeyEncryptionKey(os.urandom(32))
    wrapped = new_key(model.KeyRing(old), "acme", "p", 1)
    sealed = now(wrapped.unwrap(model.KeyRing(old))).seal(PLACE, b"secret")
    both = model.KeyRing(new, (old,))
    assert now(wrapped.unwrap(both)).open(PLACE, sealed) == b"secret"
    assert new_key(both, "acme", "p", 2).kek_id == new.id
    with pytest.raises(errors.Rejected) as raised:
        now(wrapped.unwrap(model.KeyRing(new)))
    assert raised.value.code == "sealing_key_wrong"
    assert old.id in raised.value.detail


def test_a_data_key_moves_to_another_key_and_opens_what_it_sealed():
    old, new = model.KeyEncryptionKey(os.urandom(32)), model.KeyEncryptionKey(os.urandom(32))
    wrapped = new_key(model.KeyRing(old), "acme", "p", 1)
    sealed = now(wrapped.unwrap(model.KeyRing(old))).seal(PLACE, b"secret")
    moved = now(wrapped.moved(model.KeyRing(new, (old,))))
    assert (moved.kek_id, moved.generation) == (new.id, 1)
    assert now(moved.unwrap(model.KeyRing(new))).open(PLACE, sealed) == b"secret"


def test_a_process_that_holds_no_key_opens_nothing_and_seals_nothing():
    none = model.KeyRing(model.NoKey())
    for work in (model.new_key(none.current, "acme", "p", 1), none.current.unwrap(b"x", b"y")):
        with pytest.raises(errors.Broken):
            now(work)


def test_keys_never_print():
    secret = os.urandom(32)
    key = model.KeyEncryptionKey(secret)
    assert repr(key) == f"KeyEncryptionKey(id='{key.id}')"
    assert len(key.id) == 8
    assert str(secret) not in repr(model.KeyRing(key, (key,)))


def test_a_key_of_another_length_is_refused():
    for length in (0, 16, 31, 33):
        with pytest.raises(errors.Rejected):
            model.KeyEncryptionKey(b"x" * length)
