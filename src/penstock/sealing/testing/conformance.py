"""The suite that every key service passes: inherit it in a test class."""

import contextlib
from typing import Protocol

import pytest

from penstock.base import errors
from penstock.sealing import ports

SECRET = bytes(range(32))
PLACE = b"a row of a tenant"


class Bench(Protocol):
    """A key service in the hands of a test."""

    service: ports.KeyService

    def another(self) -> ports.KeyService:
        """The same key, as another process has it."""
        ...

    def stranger(self) -> ports.KeyService:
        """Another key of the same kind."""
        ...

    def away(self) -> contextlib.AbstractContextManager[bool]:
        """Out of reach for as long as the block lasts; False for a service that never is."""
        ...


class KeyServiceConformance:
    """Every promise of `sealing.ports.KeyService` as a test. A subclass provides the fixture `key_bench`."""

    async def test_what_is_wrapped_opens_again_in_another_process(self, key_bench: Bench) -> None:
        wrapped = await key_bench.service.wrap(SECRET, PLACE)
        assert SECRET not in wrapped
        assert await key_bench.another().unwrap(wrapped, PLACE) == SECRET

    async def test_the_same_secret_is_never_wrapped_the_same_way(self, key_bench: Bench) -> None:
        assert len({await key_bench.service.wrap(SECRET, PLACE) for _ in range(5)}) == 5

    async def test_it_does_not_open_in_another_place(self, key_bench: Bench) -> None:
        wrapped = await key_bench.service.wrap(SECRET, PLACE)
        with pytest.raises(errors.Broken) as raised:
            await key_bench.service.unwrap(wrapped, PLACE + b".")
        assert raised.value.code == "seal_broken"

    async def test_what_was_changed_or_cut_or_is_nothing_of_the_kind_does_not_open(self, key_bench: Bench) -> None:
        wrapped = await key_bench.service.wrap(SECRET, PLACE)
        for changed in (_flipped(wrapped), wrapped[:-4], wrapped + wrapped, b"x", b"", b"\xff" * 61):
            with pytest.raises(errors.Broken) as raised:
                await key_bench.service.unwrap(changed, PLACE)
            assert raised.value.code == "seal_broken"

    async def test_another_key_does_not_open_it(self, key_bench: Bench) -> None:
        wrapped = await key_bench.service.wrap(SECRET, PLACE)
        stranger = key_bench.stranger()
        assert stranger.id != key_bench.service.id
        with pytest.raises(errors.Broken):
            await stranger.unwrap(wrapped, PLACE)

    async def test_its_id_is_always_the_same_and_fits_a_row(self, key_bench: Bench) -> None:
        assert key_bench.service.id == key_bench.another().id
        assert 0 < len(key_bench.service.id) <= 200
        assert set(key_bench.service.id) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:/_.-")

    async def test_a_check_passes_and_leaves_nothing(self, key_bench: Bench) -> None:
        await key_bench.service.check()
        wrapped = await key_bench.service.wrap(SECRET, PLACE)
        assert await key_bench.service.unwrap(wrapped, PLACE) == SECRET

    async def test_away_is_said_and_passes(self, key_bench: Bench) -> None:
        wrapped = await key_bench.service.wrap(SECRET, PLACE)
        with key_bench.away() as is_away:
            if is_away:
                for work in (
                    key_bench.service.wrap(SECRET, PLACE),
                    key_bench.service.unwrap(wrapped, PLACE),
                    key_bench.service.check(),
                ):
                    with pytest.raises(errors.Unavailable) as raised:
                        await work
                    assert raised.value.code == "key_service_away"
        assert await key_bench.service.unwrap(wrapped, PLACE) == SECRET

    async def test_it_may_be_closed_twice_and_never_used(self, key_bench: Bench) -> None:
        other = key_bench.another()
        await other.close()
        await other.close()
        assert other.id == key_bench.service.id


def _flipped(wrapped: bytes) -> bytes:
    """One character in the middle of the text changed for another of its alphabet, or one bit."""
    middle = len(wrapped) // 2
    other = b"A" if wrapped[middle : middle + 1] != b"A" else b"B"
    return wrapped[:middle] + other + wrapped[middle + 1 :]
