"""Root's servers run as a uid that nobody has, and only where that uid can go."""

import os
import pwd
from pathlib import Path

import pytest

from penstock.base import errors
from penstock.servers import privileges
from penstock.servers.privileges import ServerUser

OTHER = ServerUser(60706, 60706, changes=True)


def test_an_ordinary_user_stays_itself(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    monkeypatch.setattr(os, "getegid", lambda: 1235)
    assert privileges.server_user(tmp_path) == ServerUser(1234, 1235, changes=False)
    assert ServerUser(1234, 1235, changes=False).popen() == {}
    assert ServerUser(1234, 1235, changes=False).owner is None


def test_root_gives_each_folder_a_uid_without_account(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    first, again, other = (privileges.server_user(Path(f"/nonexistent/{name}")) for name in "aab")
    assert first == again
    assert first.uid != other.uid
    assert {first.uid, other.uid} < set(privileges.UNUSED_UIDS)
    assert not {first.uid, other.uid} & {account.pw_uid for account in pwd.getpwall()}
    assert first.popen() == {"user": first.uid, "group": first.gid, "extra_groups": []}


def test_a_small_user_namespace_leaves_nobody(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(privileges, "_is_mapped", lambda uid: uid not in privileges.UNUSED_UIDS)
    assert privileges.server_user(Path("/nonexistent")).uid == pwd.getpwnam("nobody").pw_uid


def test_without_another_account_root_is_refused(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(privileges, "_is_mapped", lambda uid: uid == 0)
    with pytest.raises(errors.Rejected) as refused:
        privileges.server_user(Path("/nonexistent"))
    assert refused.value.code == "no_account"


def test_a_container_with_a_random_uid_is_refused(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1_234_567)
    with pytest.raises(errors.Rejected, match="uid 1234567, which has no account") as refused:
        privileges.named_user()
    assert "PENSTOCK_POSTGRES_URL" in refused.value.hint


def test_a_closed_folder_on_the_way_is_named(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert privileges.closed_parent(closed / "data", OTHER) in {closed, *closed.parents}
    with pytest.raises(errors.Rejected) as refused:
        privileges.require_reachable(closed / "data", OTHER)
    assert refused.value.code == "folder_out_of_reach"


def test_an_open_way_is_open():
    assert privileges.closed_parent(Path("/usr/bin"), OTHER) is None
    assert privileges.closed_parent(Path("/nonexistent/data"), OTHER) is None
    privileges.require_reachable(Path("/usr/bin"), OTHER)


@pytest.mark.parametrize(("uid", "gid", "mode"), [(0, 1, 0o100), (1, 0, 0o010), (1, 1, 0o001)])
def test_owner_group_and_others_each_have_a_bit(tmp_path, uid, gid, mode):
    place = tmp_path / "place"
    place.mkdir()
    found = place.stat()
    user = ServerUser(found.st_uid + uid, found.st_gid + gid, changes=True)
    place.chmod(mode)
    open_to_it = privileges.closed_parent(place, user)
    place.chmod(0o111 & ~mode)
    assert open_to_it != place
    assert privileges.closed_parent(place, user) is not None
    place.chmod(0o700)
