"""The data folder is made, recognised, locked, and refused in one sentence."""

import contextlib
import errno
import json
import os
import stat
from pathlib import Path

import pytest

from penstock.base import errors
from penstock.servers import files, folder


def test_a_new_folder_gets_a_format_and_is_closed_to_others(tmp_path):
    prepared = folder.prepare(tmp_path / "a" / "data", build="1.2.3")
    assert json.loads((prepared.path / "format").read_text()) == {"format": 1, "build": "1.2.3"}
    assert stat.S_IMODE(prepared.path.stat().st_mode) == (0o711 if os.geteuid() == 0 else 0o700)
    assert stat.S_IMODE((prepared.path / "secrets").stat().st_mode) == 0o700
    assert stat.S_IMODE((prepared.path / "log").stat().st_mode) == 0o700
    assert folder.read_format(prepared.path) == 1


def test_preparing_again_changes_nothing(tmp_path):
    first = folder.prepare(tmp_path / "data", build="1")
    before = (first.path / "format").stat().st_mtime_ns
    assert folder.prepare(tmp_path / "data", build="2") == first
    assert (first.path / "format").stat().st_mtime_ns == before


def test_an_empty_mount_is_empty(tmp_path):
    (tmp_path / "lost+found").mkdir()
    assert folder.prepare(tmp_path, build="1").path == tmp_path


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"format": 2, "build": "9"}', "newer_data_folder"),
        ('{"format": "x"}', "bad_folder"),
        ("{", "bad_folder"),
        ("[1]", "bad_folder"),
        ("\x00", "bad_folder"),
    ],
)
def test_a_format_that_this_build_does_not_read(tmp_path, text, code):
    (tmp_path / "format").write_text(text)
    with pytest.raises(errors.Rejected) as refused:
        folder.prepare(tmp_path, build="1")
    assert refused.value.code == code


def test_a_link_to_the_folder_is_the_folder(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "data")
    assert folder.prepare(tmp_path / "link", build="1").path == tmp_path / "data"


@pytest.mark.parametrize("name", ["a\nb", "a\x00b", "a\udcffb", "a\x7fb"])
def test_a_path_that_no_configuration_holds(name):
    with pytest.raises(errors.Rejected) as refused:
        folder.absolute(Path("/tmp") / name)
    assert refused.value.code == "bad_folder"


def test_a_loop_of_links(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(errors.Rejected) as refused:
        folder.prepare(tmp_path / "a", build="1")
    assert refused.value.code == "bad_folder"


def test_one_at_a_time(tmp_path):
    prepared = folder.prepare(tmp_path / "data", build="1")
    with folder.locked(prepared):
        with pytest.raises(errors.Rejected, match=rf"process {os.getpid()}\)") as refused, folder.locked(prepared):
            raise AssertionError
        assert refused.value.status == 409
    with folder.locked(prepared), contextlib.suppress(ValueError):
        raise ValueError
    with folder.locked(prepared):
        assert (prepared.path / "lock").read_text().strip() == str(os.getpid())


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (errno.EROFS, errors.Rejected, "read_only_folder"),
        (errno.EACCES, errors.Rejected, "folder_denied"),
        (errno.EPERM, errors.Rejected, "folder_denied"),
        (errno.ENOSPC, errors.Unavailable, "disk_full"),
        (errno.EDQUOT, errors.Unavailable, "disk_full"),
        (errno.ENAMETOOLONG, errors.Rejected, "bad_folder"),
        (errno.EIO, errors.Rejected, "bad_folder"),
    ],
)
def test_errors_of_the_file_system_become_a_sentence(number, kind, code):
    with pytest.raises(kind) as refused, files.explained(Path("/some/where")):
        raise OSError(number, os.strerror(number), "/some/where/else")
    assert refused.value.code == code
    assert "/some/where" in refused.value.detail


def test_a_private_file_is_whole_or_not_there(tmp_path):
    path = tmp_path / "secret"
    path.write_text("before")
    path.chmod(0o644)
    files.write_private(path, "after")
    assert path.read_text() == "after"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]


def test_a_private_file_does_not_follow_a_link(tmp_path):
    (tmp_path / "other").write_text("mine")
    (tmp_path / "secret").symlink_to(tmp_path / "other")
    (tmp_path / "secret.draft").symlink_to(tmp_path / "other")
    files.write_private(tmp_path / "secret", "theirs")
    assert (tmp_path / "other").read_text() == "mine"
    assert not (tmp_path / "secret").is_symlink()
