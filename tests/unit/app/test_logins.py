"""Logins of the bus: each its own, the same every time, and nobody else's to read."""

import json
from pathlib import Path

import pytest

from penstock.app import logins
from penstock.base import errors, ids
from penstock.sdk import connection
from penstock.servers import endpoints, folder

WHERE = endpoints.NatsEndpoint("nats://127.0.0.1:4222", "apps-acme", "hush", "http://127.0.0.1:8222")


@pytest.fixture
def place(tmp_path: Path) -> folder.DataFolder:
    return folder.prepare(tmp_path / "data", build="test")


def test_a_password_is_the_same_every_time_and_no_two_are(place: folder.DataFolder) -> None:
    known, again = logins.Logins(place), logins.Logins(place)
    words = {login: known.password(login).reveal() for login in ("apps-acme", "apps-globex", "role-inbound")}
    assert words == {login: again.password(login).reveal() for login in words}
    assert len(set(words.values())) == len(words)
    assert all(len(word) == 43 for word in words.values())
    assert place.secret(logins.SECRET).stat().st_mode & 0o777 == 0o600


def test_another_installation_has_other_passwords(place: folder.DataFolder, tmp_path: Path) -> None:
    other = folder.prepare(tmp_path / "other", build="test")
    assert logins.Logins(place).password("a").reveal() != logins.Logins(other).password("a").reveal()


def test_a_secret_that_others_may_read_is_refused(place: folder.DataFolder) -> None:
    logins.Logins(place)
    place.secret(logins.SECRET).chmod(0o644)
    with pytest.raises(errors.Rejected, match="secret_exposed"):
        logins.Logins(place)


def test_an_app_finds_what_was_left_for_its_tenant(place: folder.DataFolder) -> None:
    files = logins.LoginFiles.of(place.path, {"ca_file": "/ca.pem"})
    files.leave("acme", WHERE)
    path = place.path / logins.FOLDER / "acme.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    found = connection.find({"PENSTOCK_DATA": str(place.path)}, ids.tenant_id("acme"))
    assert (found.url.reveal(), found.user, found.password.reveal()) == (WHERE.url, "apps-acme", "hush")
    assert found.nats.table() == {"ca_file": "/ca.pem"}
    assert "monitor" not in path.read_text()
    assert set(json.loads(path.read_text())) == {"nats_url", "nats_user", "nats_password", "nats"}


def test_a_tenant_that_is_gone_has_none(place: folder.DataFolder) -> None:
    files = logins.LoginFiles.of(place.path, {})
    for tenant in ("acme", "globex"):
        files.leave(tenant, WHERE)
    files.keep_only(["globex"])
    assert [path.name for path in (place.path / logins.FOLDER).iterdir()] == ["globex.json"]
    files.keep_only(())
    assert not list((place.path / logins.FOLDER).iterdir())
