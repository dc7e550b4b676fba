"""Generated passwords are kept, closed to others, and never made twice for one server."""

import json
import stat

import pytest

from penstock.base import errors
from penstock.servers import credentials


def test_made_once_and_kept(tmp_path):
    path = tmp_path / "nats.json"
    password = credentials.kept(path, user="penstock")
    assert len(password) >= 43, "256 bits"
    assert credentials.kept(path, user="penstock") == password
    assert json.loads(path.read_text()) == {"user": "penstock", "password": password}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert credentials.kept(tmp_path / "postgres.json", user="postgres") != password


def test_a_lost_one_is_not_made_anew(tmp_path):
    with pytest.raises(errors.Rejected) as refused:
        credentials.kept(tmp_path / "postgres.json", user="postgres", lost=True)
    assert refused.value.code == "secret_lost"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"password": ""}', '{"password": 5}'])
def test_a_damaged_one_is_refused(tmp_path, text):
    path = tmp_path / "nats.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(errors.Rejected) as refused:
        credentials.kept(path, user="penstock")
    assert refused.value.code == "bad_secret"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_one_that_others_may_read_is_refused(tmp_path, mode):
    path = tmp_path / "nats.json"
    credentials.kept(path, user="penstock")
    path.chmod(mode)
    with pytest.raises(errors.Rejected) as refused:
        credentials.kept(path, user="penstock")
    assert refused.value.code == "secret_exposed"
