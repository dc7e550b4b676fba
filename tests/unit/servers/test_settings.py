"""Settings are read with the rules of the loader, and what cannot hold is refused by name."""

from pathlib import Path

import pytest

from penstock.base import errors, settings
from penstock.servers.settings import ServersSettings, default_data_folder


def load(**environ: str) -> ServersSettings:
    return settings.load(
        ServersSettings, "servers", {}, {f"PENSTOCK_SERVERS__{name.upper()}": text for name, text in environ.items()}
    )


def test_from_the_environment():
    found = load(data_folder="/x", nats_url="nats://u:p@h", nats_port="4333", stop_deadline_s="2.5")
    assert (found.data_folder, found.nats_port, found.stop_deadline_s) == (Path("/x"), 4333, 2.5)
    assert found.nats_url.reveal() == "nats://u:p@h"
    assert "u:p" not in repr(found)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("nats_port", 65536),
        ("nats_monitor_port", -1),
        ("nats_max_payload_bytes", 0),
        ("nats_max_payload_bytes", 65 << 20),
        ("postgres_connections", 9),
        ("postgres_shared_buffers_bytes", 1),
        ("stop_deadline_s", 0),
        ("log_bytes", 0),
        ("resume_intake_above_bytes", 1),
    ],
)
def test_a_value_that_cannot_hold_is_named(field, value):
    with pytest.raises(errors.Rejected) as refused:
        ServersSettings(**{field: value})
    assert refused.value.field == f"servers.{field}"


def test_two_servers_do_not_share_a_port():
    with pytest.raises(errors.Rejected, match="same as nats_port"):
        ServersSettings(nats_port=4222, nats_monitor_port=4222)


def test_the_data_folder_of_an_ordinary_user(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert default_data_folder({"XDG_DATA_HOME": "/x"}) == Path("/x/penstock")
    expected = Path.home() / ".local" / "share" / "penstock"
    assert default_data_folder({}) == default_data_folder({"XDG_DATA_HOME": "relative"}) == expected


def test_a_user_without_a_home_must_name_a_data_folder(monkeypatch):
    def homeless() -> Path:
        raise RuntimeError

    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(errors.Rejected) as refused:
        default_data_folder({})
    assert refused.value.code == "no_home"


def test_the_data_folder_of_root_is_within_reach_of_its_servers(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert default_data_folder({"XDG_DATA_HOME": "/x"}) == Path("/var/lib/penstock")
