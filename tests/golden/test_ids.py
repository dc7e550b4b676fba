"""Encoded tokens, partitions and derived ids are frozen for ever: they name rows, subjects and commands that exist.

There is no way to refresh `ids.json`. It was written by another implementation of the same rules, in which `crc32` is
the CRC of IEEE 802.3 and texts are UTF-8 (lone surrogates as three bytes). A failure here is a bug in `base.ids`.
"""

import json
from pathlib import Path

import pytest

from penstock.base import ids

FROZEN = json.loads(Path(__file__).with_name("ids.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("text", "token"), FROZEN["encode_token"])
def test_a_text_encodes_as_ever(text: str, token: str) -> None:
    assert ids.encode_token(text) == token


@pytest.mark.parametrize(("tenant", "kind", "key", "number"), FROZEN["partition"])
def test_a_key_falls_into_the_same_partition_as_ever(tenant: str, kind: str, key: str, number: int) -> None:
    assert ids.partition(tenant, kind, key) == number


@pytest.mark.parametrize(("parts", "derived"), FROZEN["derive_id"])
def test_an_id_is_derived_as_ever(parts: list[str], derived: str) -> None:
    assert ids.derive_id(*parts) == derived


def test_the_frozen_examples_are_all_there() -> None:
    assert {name: len(examples) for name, examples in FROZEN.items()} == {
        "encode_token": 27,
        "partition": 12,
        "derive_id": 12,
    }
    assert len({derived for _, derived in FROZEN["derive_id"]}) == 12
    assert len({token for _, token in FROZEN["encode_token"]}) == 27
