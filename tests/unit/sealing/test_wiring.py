"""Settings become a ring: which key wraps from now on, and which others still open."""

from pathlib import Path

import pytest

from penstock.base import errors, settings
from penstock.sealing import keys, wiring
from penstock.sealing.settings import SealingSettings

OLD, NEW = settings.Secret("0d" * 32), settings.Secret("e4" * 32)
VAULT = {"vault_url": "https://vault.example.org:8200", "vault_token": settings.Secret("token")}


def ids(chosen):
    return [key.id for key in wiring.ring(chosen, Path("/nonexistent/key")).all]


def of(secret):
    return keys.parse(secret.reveal(), "test").id


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (SealingSettings(key=NEW), [of(NEW)]),
        (SealingSettings(key=NEW, old_key=OLD), [of(NEW), of(OLD)]),
        (SealingSettings(key=NEW, old_key=NEW), [of(NEW)]),
        (SealingSettings(key=NEW, **VAULT), [of(NEW), "vault:transit/penstock"]),
        (SealingSettings(service="vault", **VAULT), ["vault:transit/penstock"]),
        (SealingSettings(service="vault", key=OLD, **VAULT), ["vault:transit/penstock", of(OLD)]),
        (SealingSettings(service="vault", old_key=OLD, **VAULT), ["vault:transit/penstock", of(OLD)]),
        (SealingSettings(service="vault", key=NEW, old_key=OLD, **VAULT), ["vault:transit/penstock", of(NEW), of(OLD)]),
    ],
)
def test_the_ring_of_settings(chosen, expected):
    assert ids(chosen) == expected


def test_without_any_key_the_users_file_is_wanted_unless_a_service_has_one():
    with pytest.raises(errors.Rejected) as raised:
        ids(SealingSettings())
    assert raised.value.code == "sealing_key_missing"


@pytest.mark.parametrize(
    ("field", "chosen"),
    [
        ("service", {"service": "aws"}),
        ("vault_url", {"service": "vault"}),
        ("vault_token", {"vault_token": NEW, "vault_token_file": Path("/run/token")}),
        ("vault_timeout_s", {"vault_timeout_s": 0.0}),
        ("data_key_cache_s", {"data_key_cache_s": 3600.0}),
    ],
)
def test_settings_that_contradict_themselves_are_refused(field, chosen):
    with pytest.raises(errors.Rejected) as raised:
        SealingSettings(**chosen)
    assert raised.value.field == f"sealing.{field}"
