"""Where an installation listens is known to its user, whole or not at all."""

import dataclasses
import json
import os
from pathlib import Path

import pytest

from penstock.app import endpoints
from penstock.base import errors

HERE = endpoints.Endpoints(
    http_url="http://127.0.0.1:8080",
    nats_url="nats://127.0.0.1:4222",
    nats_user="platform",
    nats_password="swordfish",
    postgres_url="postgresql://penstock:swordfish@/penstock?host=/tmp/x",
    pid=7,
)


def test_what_was_written_is_read(tmp_path):
    endpoints.write(tmp_path, HERE)
    assert endpoints.read(tmp_path) == HERE
    endpoints.write(tmp_path, dataclasses.replace(HERE, pid=8))
    assert endpoints.read(tmp_path).pid == 8


def test_only_its_owner_may_read_it(tmp_path):
    before = os.umask(0)
    try:
        endpoints.write(tmp_path, HERE)
    finally:
        os.umask(before)
    assert (tmp_path / endpoints.FILE).stat().st_mode & 0o777 == 0o600


def test_a_draft_that_somebody_left_is_not_written_through(tmp_path):
    """A link in the place of the draft must not make us write elsewhere."""
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "endpoints.draft").symlink_to(victim)
    endpoints.write(tmp_path, HERE)
    assert victim.read_text() == "untouched"
    assert endpoints.read(tmp_path) == HERE


def test_nothing_else_is_left_beside_it(tmp_path):
    endpoints.write(tmp_path, HERE)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["endpoints.json"]


def test_none_means_that_nothing_runs(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(errors.Unavailable) as away:
            endpoints.read(folder)
        assert (away.value.code, "penstock up" in away.value.hint) == ("not_running", True)
    endpoints.write(tmp_path, HERE)
    endpoints.remove(tmp_path)
    endpoints.remove(tmp_path)
    with pytest.raises(errors.Unavailable):
        endpoints.read(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"[1]",
        b"null",
        b"{}",
        b'{"pid": 1}',
        b"\xff\xfe",
        json.dumps({**dataclasses.asdict(HERE), "x": 1}).encode(),
    ],
)
def test_what_is_damaged_or_of_another_build_is_refused(tmp_path, content):
    endpoints.write(tmp_path, HERE)
    (tmp_path / endpoints.FILE).write_bytes(content)
    with pytest.raises(errors.Rejected) as refused:
        endpoints.read(tmp_path)
    assert refused.value.code == "bad_endpoints"


def test_a_folder_in_its_place_is_refused(tmp_path):
    (tmp_path / endpoints.FILE).mkdir(parents=True)
    with pytest.raises(errors.Rejected) as refused:
        endpoints.read(tmp_path)
    assert refused.value.code == "bad_endpoints"


def test_one_of_another_user_is_refused(tmp_path, monkeypatch):
    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", forbidden)
    with pytest.raises(errors.Rejected) as refused:
        endpoints.read(tmp_path)
    assert (refused.value.code, "user that ran" in refused.value.hint) == ("not_yours", True)


def test_credentials_never_print():
    assert "swordfish" not in f"{HERE} {HERE!r}"
