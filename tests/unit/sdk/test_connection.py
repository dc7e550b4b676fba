"""Where the bus is and for which tenants, or one sentence with the next step."""

import json
import os
from pathlib import Path

import pytest

from penstock.base import errors, ids
from penstock.sdk import connection
from penstock.servers import settings as servers_settings

ACME = ids.tenant_id("acme")


def login(folder: Path, text: str) -> dict[str, str]:
    """What `penstock up` leaves for the apps of acme."""
    path = folder / connection.LOGINS / "acme.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return {"PENSTOCK_DATA": str(folder)}


def test_a_url_wins_over_a_running_installation(tmp_path: Path) -> None:
    environ = login(tmp_path, json.dumps({"nats_url": "nats://x", "nats_user": "u", "nats_password": "p"}))
    found = connection.find({**environ, "PENSTOCK_NATS_URL": "nats://a:b@bus:4222"}, ACME)
    assert (found.url.reveal(), found.user, found.password.reveal()) == ("nats://a:b@bus:4222", "", "")


def test_credentials_may_stand_beside_the_url() -> None:
    environ = {"PENSTOCK_NATS_URL": "nats://bus", "PENSTOCK_NATS_USER": "u", "PENSTOCK_NATS_PASSWORD": "p"}
    found = connection.find(environ, ACME)
    assert (found.user, found.password.reveal()) == ("u", "p")


def test_the_running_installation_says_where_it_is(tmp_path: Path) -> None:
    text = json.dumps({"nats_url": "nats://x", "nats_user": "u", "nats_password": "hush", "more": 1})
    found = connection.find(login(tmp_path, text), ACME)
    assert (found.url.reveal(), found.user, found.password.reveal()) == ("nats://x", "u", "hush")
    assert "hush" not in repr(found)


def test_settings_of_nats_stand_beside_the_url() -> None:
    found = connection.find({"PENSTOCK_NATS_URL": "tls://bus", "PENSTOCK_NATS__TOKEN": "hush"}, ACME)
    assert found.nats.table() == {"token": "hush"}
    assert "hush" not in repr(found)
    with pytest.raises(errors.Rejected, match="nats has no setting 'tokn'"):
        connection.find({"PENSTOCK_NATS_URL": "tls://bus", "PENSTOCK_NATS__TOKN": "hush"}, ACME)


def test_a_running_installation_says_how_to_be_let_in_unless_the_environment_does(tmp_path: Path) -> None:
    known = {"nats_url": "nats://x", "nats_user": "", "nats_password": "", "nats": {"token": "a", "ca_file": "/ca.pem"}}
    environ = login(tmp_path, json.dumps(known))
    assert connection.find(environ, ACME).nats.table() == {"token": "a", "ca_file": "/ca.pem"}
    found = connection.find({**environ, "PENSTOCK_NATS__TOKEN": "b"}, ACME)
    assert found.nats.table() == {"token": "b", "ca_file": "/ca.pem"}


def test_a_tenant_has_a_login_of_its_own_and_no_other(tmp_path: Path) -> None:
    environ = login(tmp_path, json.dumps({"nats_url": "nats://x", "nats_user": "u", "nats_password": "hush"}))
    (tmp_path / connection.ENDPOINTS).write_text(json.dumps({"nats_url": "nats://x", "nats_password": "the owner's"}))
    assert connection.find(environ, ACME).user == "u"
    with pytest.raises(errors.Unavailable, match=r"globex.*no_login.*penstock tenant create globex"):
        connection.find(environ, ids.tenant_id("globex"))


def test_logins_may_be_in_a_folder_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "acme.json").write_text(json.dumps({"nats_url": "nats://x", "nats_user": "u", "nats_password": "p"}))
    assert connection.find({"PENSTOCK_LOGINS": str(tmp_path)}, ACME).user == "u"
    with pytest.raises(errors.Unavailable, match="no_login"):
        connection.find({"PENSTOCK_LOGINS": str(tmp_path)}, ids.tenant_id("globex"))


def test_nothing_running_says_how_to_start(tmp_path: Path) -> None:
    with pytest.raises(errors.Unavailable, match=r"no installation runs in .*penstock up.*PENSTOCK_NATS_URL"):
        connection.find({"PENSTOCK_DATA": str(tmp_path)}, ACME)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"nats_url": 1}', "\x00"])
def test_a_file_that_says_something_else_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(errors.Rejected, match="bad_endpoints"):
        connection.find(login(tmp_path, text), ACME)


def test_the_default_folder_is_that_of_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    environs = ({}, {"XDG_DATA_HOME": "/data"}, {"XDG_DATA_HOME": "relative"})
    for user in (0, 1000):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        for environ in environs:
            assert connection.data_folder(environ) == servers_settings.default_data_folder(environ)


def test_the_tenants_given_win_and_each_counts_once() -> None:
    environ = {"PENSTOCK_TENANT": "acme, globex,,acme"}
    assert connection.tenants([], environ) == ["acme", "globex"]
    assert connection.tenants(["initech"], environ) == ["initech"]


@pytest.mark.parametrize("environ", [{}, {"PENSTOCK_TENANT": ""}, {"PENSTOCK_TENANT": " , "}])
def test_no_tenant_says_how_to_name_one(environ: dict[str, str]) -> None:
    with pytest.raises(errors.Rejected, match="Set PENSTOCK_TENANT"):
        connection.tenants([], environ)


@pytest.mark.parametrize("name", ["Acme", "a.b", "*", "a_b", "a>", "../etc"])
def test_a_hostile_tenant_is_refused(name: str) -> None:
    with pytest.raises(errors.Rejected, match="tenant must be"):
        connection.tenants([name], {})
