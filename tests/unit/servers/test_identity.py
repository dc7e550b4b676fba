"""A pid is ours only together with the moment its process started."""

import dataclasses
import os
import subprocess
import sys

import hypothesis
import pytest
from hypothesis import strategies

from penstock.servers import identity


def known(pid: int, started: str) -> identity.Identity:
    return identity.Identity("nats", pid, started, "f" * 64, "/data", {"client": 4222}, "0.1.0", "/data/secrets/x")


def test_we_are_ourselves_and_nobody_else():
    mark = identity.start_mark(os.getpid())
    assert mark
    assert known(os.getpid(), mark).is_running()
    assert not known(os.getpid(), mark + "1").is_running()
    assert not known(1, mark).is_running()
    assert not known(os.getpid(), "").is_running()


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1])
def test_no_process_has_no_mark(pid):
    assert identity.start_mark(pid) == ""
    assert not known(pid, "").is_running()


def test_a_zombie_does_not_run():
    child = subprocess.Popen([sys.executable, "-c", "print('up', flush=True); input()"], stdin=-1, stdout=-1)
    with child:
        child.stdout.readline()
        found = known(child.pid, identity.start_mark(child.pid))
        assert found.is_running()
        child.stdin.close()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not found.is_running(), "it has ended and nobody has asked for its exit code yet"


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "nats.json"
    identity.write(path, known(1, "x"))
    assert identity.read(path) == known(1, "x")
    assert path.stat().st_mode & 0o777 == 0o600
    identity.write(path, dataclasses.replace(known(2, "y"), ports={}))
    assert identity.read(path).pid == 2


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"pid": 1}', '{"name": "x", "pid": "many", "ports": {}}', "\udcff"]
)
def test_what_is_no_identity_proves_nothing(tmp_path, text):
    path = tmp_path / "nats.json"
    path.write_bytes(text.encode("utf-8", errors="surrogateescape"))
    assert identity.read(path) is None
    assert identity.read(tmp_path / "none.json") is None


@hypothesis.given(strategies.lists(strategies.text(strategies.characters(codec="utf-8", exclude_characters="\0"))))
def test_other_arguments_have_another_fingerprint(words):
    assert identity.fingerprint(words) == identity.fingerprint(list(words))
    assert identity.fingerprint(words) != identity.fingerprint([*words, ""])
    assert identity.fingerprint(words, "a") != identity.fingerprint(words, "b")
