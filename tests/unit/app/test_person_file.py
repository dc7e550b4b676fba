"""An export's file: private, whole or not there, never over another one, and without anything that is left behind."""

import os
import signal

import pytest

from penstock.app import person_file
from penstock.base import errors


def files(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_file_has_its_name_once_it_is_whole(tmp_path):
    with person_file.private(tmp_path / "ana") as file:
        file.write("words")
        assert list(files(tmp_path)) == [f".ana{person_file.DRAFT}"]
    assert files(tmp_path) == {"ana": "words"}
    assert (tmp_path / "ana").stat().st_mode & 0o777 == 0o600


def test_nothing_is_left_of_what_failed(tmp_path):
    with pytest.raises(ZeroDivisionError), person_file.private(tmp_path / "ana") as file:
        file.write(str(1 / 0))
    assert files(tmp_path) == {}


def test_what_a_killed_process_left_is_removed_by_the_next_one_under_any_name(tmp_path):
    child = os.fork()
    if not child:
        with person_file.private(tmp_path / "ana") as file:
            file.write("words")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert list(files(tmp_path).values()) == ["words"]
    with person_file.private(tmp_path / "ben"):
        pass
    assert files(tmp_path) == {"ben": ""}


def test_what_somebody_else_writes_is_left_alone(tmp_path):
    (tmp_path / ".mine.draft").write_text("mine")
    (tmp_path / f".linked{person_file.DRAFT}").symlink_to(tmp_path / ".mine.draft")
    with person_file.private(tmp_path / "ana") as file:
        with person_file.private(tmp_path / "ben"):
            pass
        with pytest.raises(errors.Rejected, match="bad_file"), person_file.private(tmp_path / "ana"):
            pass
        file.write("words")
    assert files(tmp_path) | {f".linked{person_file.DRAFT}": "mine"} == {
        f".linked{person_file.DRAFT}": "mine",
        ".mine.draft": "mine",
        "ana": "words",
        "ben": "",
    }
