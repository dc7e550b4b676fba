"""Ids: what is accepted, what encodes to what, and that two different things never meet."""

import hashlib
import re
import struct
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors, ids

TOKEN = re.compile(r"[A-Za-z0-9_-]+")
SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

anything = st.text(st.characters(codec=None), max_size=200)


@pytest.mark.parametrize("value", ["a", "acme", "acme-2", "0", "a-b-c", "x" * 40])
def test_slugs_are_accepted(value: str) -> None:
    assert ids.slug(value, "tenant") == value
    assert ids.tenant_id(value) == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        "A",
        "a_b",
        "-a",
        "a-",
        "a--b",
        "a.b",
        "a b",
        "a*",
        ">",
        "é",
        "x" * 41,
        "a\n",
        "a\0",
        "../a",
        "a\u0661",
        "\uff41",
    ],
)
def test_what_is_no_slug_is_rejected_with_its_field_and_a_suggestion(value: str) -> None:
    with pytest.raises(errors.Rejected) as refused:
        ids.slug(value, "tenant")
    assert (refused.value.code, refused.value.field) == ("bad_slug", "tenant")
    assert "Choose something like" in refused.value.hint


@pytest.mark.parametrize("value", ["", "a.b", "a b", "*", ">", "a\n", "é", "x" * 129, "$JS"])
def test_what_is_no_token_is_rejected_with_its_field(value: str) -> None:
    with pytest.raises(errors.Rejected) as refused:
        ids.token(value, "account")
    assert (refused.value.code, refused.value.field) == ("bad_token", "account")


@given(anything)
def test_law_a_suggested_slug_is_a_slug(value: str) -> None:
    suggested = ids.suggest_slug(value)
    assert ids.slug(suggested, "tenant") == suggested


@given(anything)
def test_law_slug_and_token_accept_exactly_their_grammar(value: str) -> None:
    assert _accepted(ids.slug, value) == (len(value) <= ids.SLUG_LENGTH and bool(SLUG.fullmatch(value)))
    assert _accepted(ids.token, value) == (len(value) <= ids.TOKEN_LENGTH and bool(TOKEN.fullmatch(value)))


def _accepted(check, value: str) -> bool:
    try:
        return check(value, "field") == value
    except errors.Rejected:
        return False


@given(anything)
def test_law_every_text_encodes_to_a_token(value: str) -> None:
    assert ids.token(ids.encode_token(value), "token") == ids.encode_token(value)


@given(anything, anything)
def test_law_different_texts_encode_differently(first: str, second: str) -> None:
    assert (first == second) == (ids.encode_token(first) == ids.encode_token(second))


@given(anything)
def test_law_the_encoding_of_a_text_is_never_the_encoding_of_its_encoding(value: str) -> None:
    encoded = ids.encode_token(value)
    assert encoded == value or ids.encode_token(encoded) != encoded


@pytest.mark.parametrize("value", ["", "_", "_a", "__a", "a.b", "x" * 65, "é", "\ud800", "x" * 1000])
def test_what_is_not_plain_never_looks_plain(value: str) -> None:
    assert ids.encode_token(value).startswith("_")


def test_encodings_on_both_sides_of_the_limits() -> None:
    assert ids.encode_token("x" * 64) == "x" * 64
    assert ids.encode_token("x" * 65).startswith("_e")
    assert len(ids.encode_token("é" * 45)) == 121
    assert ids.encode_token("é" * 46).startswith("__")


@given(anything, anything, anything)
def test_law_a_partition_is_one_of_64(tenant: str, kind: str, key: str) -> None:
    number = ids.partition(tenant, kind, key)
    assert 0 <= number < ids.PARTITIONS == 64
    assert re.fullmatch(r"p[0-6]\d", ids.partition_token(number))


def test_partitions_spread_evenly() -> None:
    counts = [0] * ids.PARTITIONS
    for number in range(64_000):
        counts[ids.partition("acme", "conversation", f"account/room-{number}")] += 1
    assert min(counts) > 800
    assert max(counts) < 1200


def test_partition_tokens_have_two_digits() -> None:
    assert [ids.partition_token(number) for number in (0, 9, 63)] == ["p00", "p09", "p63"]


@pytest.mark.parametrize("number", [-1, 64])
def test_a_partition_outside_the_range_is_our_bug(number: int) -> None:
    with pytest.raises(errors.Broken):
        ids.partition_token(number)


def test_a_new_id_is_a_uuid_of_version_7(monkeypatch: pytest.MonkeyPatch) -> None:
    # RFC 9562, section 5.7: 48 bits of Unix milliseconds, version 7, 12 random bits, variant 10, 62 random bits.
    monkeypatch.setattr(ids.time, "time_ns", lambda: 0x017F22E279B0 * 1_000_000)
    monkeypatch.setattr(ids, "random_bytes", lambda size: b"\xff" * size)
    assert ids.new_id() == "017f22e279b07fffbfffffffffffffff"
    monkeypatch.setattr(ids, "random_bytes", lambda size: b"\0" * size)
    assert ids.new_id() == "017f22e279b070008000000000000000"


def test_new_ids_carry_the_time_sort_by_it_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time_ns()
    made: list[str] = []
    for number in range(200):
        monkeypatch.setattr(ids.time, "time_ns", lambda number=number: now + number * 1_000_000)
        made.append(ids.new_id())
    assert made == sorted(made)
    assert len(set(made)) == 200
    assert int(made[0][:12], 16) == now // 1_000_000
    assert all(re.fullmatch(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", each) for each in made)


@given(st.lists(anything, max_size=4), st.lists(anything, max_size=4))
def test_law_a_derived_id_depends_on_every_part_and_where_it_ends(first: list[str], second: list[str]) -> None:
    assert (first == second) == (ids.derive_id(*first) == ids.derive_id(*second))
    assert re.fullmatch(r"[0-9a-f]{32}", ids.derive_id(*first))


def test_random_bytes_are_as_many_as_asked_for_and_never_given_out_twice():
    sizes = [1, 16, 24, 4000, 4096, 5000, 10] * 20
    drawn = [ids.random_bytes(size) for size in sizes]
    assert [len(one) for one in drawn] == sizes
    assert len({one for one in drawn if len(one) > 8}) == len([one for one in drawn if len(one) > 8])


def test_a_forked_child_draws_random_bytes_of_its_own():
    """In a process without threads: forking one with threads is what Python warns of."""
    script = (
        "import os; from penstock.base import ids; ids.random_bytes(1); forked = os.fork()\n"
        "os.write(1, ids.random_bytes(16).hex().encode() + b'\\n')\n"
        "forked and os.waitpid(forked, 0)"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    first, second = ran.stdout.split()
    assert first != second


@given(st.lists(anything | st.sampled_from(["", "a" * 127, "a" * 128, "é", "\0"])))
def test_law_a_derived_id_is_the_hash_of_its_length_prefixed_parts(parts: list[str]) -> None:
    raws = [part.encode("utf-8", "surrogatepass") for part in parts]
    whole = b"".join(struct.pack(">Q", len(raw)) + raw for raw in raws)
    assert ids.derive_id(*parts) == hashlib.sha256(whole).hexdigest()[:32]
