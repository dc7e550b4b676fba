"""Consumers can be tuned by settings; what cannot work, or is not theirs to change, is refused by name."""

from pathlib import Path
from typing import Any

import pytest

from penstock.base import errors
from penstock.base import settings as base_settings
from penstock.spine import consumer, settings


def test_an_override_changes_its_durable_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "penstock.toml"
    path.write_text("[spine.consumers.outbound]\nconcurrency = 128\nbackoff_s = [1, 2.5]\n")
    found = base_settings.load(settings.SpineSettings, "spine", base_settings.read_file(path), {})
    tuned = found.tuned(consumer.OUTBOUND)
    assert (tuned.concurrency, tuned.backoff_s) == (128, (1.0, 2.5))
    assert tuned.name == consumer.OUTBOUND.name
    assert found.tuned(consumer.QUARANTINE) == consumer.QUARANTINE


@pytest.mark.parametrize(
    ("consumers", "field"),
    [
        ({"outbond": {"attempts": 1}}, "spine.consumers.outbond"),
        ({"outbound": {"stream": "OTHER"}}, "spine.consumers.outbound.stream"),
        ({"outbound": {"attempts": "many"}}, "spine.consumers.outbound.attempts"),
        ({"outbound": {"attempts": True}}, "spine.consumers.outbound.attempts"),
        ({"outbound": {"backoff_s": 3}}, "spine.consumers.outbound.backoff_s"),
        ({"outbound": {"concurrency": 5000}}, "concurrency"),
        ({"outbound": {"attempts": 0}}, "attempts"),
    ],
)
def test_what_cannot_work_is_refused_naming_the_field(consumers: dict[str, Any], field: str) -> None:
    with pytest.raises(errors.Rejected) as refused:
        settings.SpineSettings(consumers=consumers)
    assert refused.value.field == field


def test_streams_have_an_odd_number_of_copies() -> None:
    with pytest.raises(errors.Rejected):
        settings.SpineSettings(replicas=2)


def test_without_settings_nats_is_what_its_url_says() -> None:
    assert settings.NatsSettings().table() == {}


def test_the_table_of_nats_says_it_again_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {"PENSTOCK_NATS__TOKEN": "hush", "PENSTOCK_NATS__CA_FILE": "ca.pem", "PENSTOCK_NATS__TLS_FIRST": "true"}
    found = base_settings.load(settings.NatsSettings, "nats", {}, environ)
    assert found.table() == {"token": "hush", "ca_file": str(tmp_path / "ca.pem"), "tls_first": True}
    assert "hush" not in repr(found)
    again = base_settings.load(settings.NatsSettings, "nats", {"nats": found.table()}, {})
    assert again.table() == found.table()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"certificate_file": Path("a")}, "nats.key_file"),
        ({"key_file": Path("a")}, "nats.certificate_file"),
        ({"inbox_prefix": ""}, "nats.inbox_prefix"),
        ({"inbox_prefix": "a.*"}, "nats.inbox_prefix"),
        ({"inbox_prefix": "a..b"}, "nats.inbox_prefix"),
        ({"inbox_prefix": "a b"}, "nats.inbox_prefix"),
        ({"inbox_prefix": "a.>"}, "nats.inbox_prefix"),
    ],
)
def test_what_nats_could_not_be_reached_with_is_refused(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(errors.Rejected) as refused:
        settings.NatsSettings(**fields)
    assert refused.value.field == field


@pytest.mark.parametrize("prefix", ["$JS.API", "penstock.api", "$JS.hub.API"])
def test_jetstreams_api_may_have_another_name(prefix):
    assert settings.NatsSettings(api_prefix=prefix).api_prefix == prefix


@pytest.mark.parametrize("prefix", ["", "$", "a b", "a.*", "a.>", ".a", "a.", "$$JS", "a\r\nPUB x"])
def test_a_prefix_that_is_no_subject_is_refused(prefix):
    with pytest.raises(errors.Rejected, match="api_prefix"):
        settings.NatsSettings(api_prefix=prefix)
