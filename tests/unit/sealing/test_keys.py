"""Finding the key: every source, and every file that is refused."""

import base64
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors, settings
from penstock.sealing import keys
from penstock.sealing.settings import SealingSettings

RAW = bytes(range(32))


def write(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return path


@given(st.binary(min_size=32, max_size=32))
def test_every_way_to_write_a_key_is_the_same_key(raw):
    texts = (
        raw.hex(),
        raw.hex().upper() + "\n",
        base64.b64encode(raw).decode(),
        " " + base64.urlsafe_b64encode(raw).decode().rstrip("="),
    )
    assert {keys.parse(text, "test").secret for text in texts} == {raw}


@pytest.mark.parametrize("text", ["", "secret", "0" * 63, "0" * 66, "é" * 64, base64.b64encode(b"x" * 31).decode()])
def test_what_is_no_key_is_refused_without_being_quoted(text):
    with pytest.raises(errors.Rejected) as raised:
        keys.parse(text, "sealing.key")
    assert raised.value.code == "sealing_key_wrong"
    assert not text or text not in str(raised.value)


def test_the_default_place_is_in_the_users_config_folder(tmp_path, monkeypatch):
    assert keys.default_file({"XDG_CONFIG_HOME": "/etc/x"}).as_posix() == "/etc/x/penstock/key"
    monkeypatch.setenv("HOME", str(tmp_path))
    for environ in ({}, {"XDG_CONFIG_HOME": ""}, {"XDG_CONFIG_HOME": "relative"}):
        assert keys.default_file(environ) == tmp_path / ".config" / "penstock" / "key"


def test_the_file_is_made_once_for_its_owner_alone_and_told(tmp_path):
    file = tmp_path / "config" / "penstock" / "key"
    told = keys.ensure_file(file, data_folder=tmp_path / "data")
    assert str(file) in told
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert list(file.parent.iterdir()) == [file]
    first = keys.read_file(file)
    assert keys.ensure_file(file, data_folder=tmp_path / "data") == ""
    assert keys.read_file(file) == first


def test_a_loose_umask_changes_nothing(tmp_path):
    before = os.umask(0)
    try:
        keys.ensure_file(tmp_path / "c" / "key", data_folder=tmp_path / "data")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "c" / "key").stat().st_mode) == 0o600


def test_of_two_processes_that_make_it_at_once_both_get_the_same(tmp_path, monkeypatch):
    file = tmp_path / "key"
    monkeypatch.setattr(type(file), "exists", lambda _: False)
    made = [keys.ensure_file(file, data_folder=tmp_path / "data") for _ in range(2)]
    assert [bool(told) for told in made] == [True, False]
    assert list(tmp_path.iterdir()) == [file]


def test_the_data_folder_is_no_place_for_a_key(tmp_path):
    (tmp_path / "way").symlink_to(tmp_path / "data")
    for file in (tmp_path / "data" / "key", tmp_path / "data" / "a" / ".." / "b" / "key", tmp_path / "way" / "key"):
        with pytest.raises(errors.Rejected) as raised:
            keys.ensure_file(file, data_folder=tmp_path / "data")
        assert raised.value.code == "sealing_key_wrong"
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o620, 0o601])
def test_a_key_that_others_may_read_or_change_is_refused(tmp_path, mode):
    with pytest.raises(errors.Rejected) as raised:
        keys.read_file(write(tmp_path / "key", RAW.hex(), mode))
    assert raised.value.code == "sealing_key_wrong"
    assert f"{mode:04o}" in raised.value.detail


def test_a_mounted_secret_may_be_readable_by_its_group_and_be_a_link(tmp_path):
    write(tmp_path / "..data", RAW.hex(), 0o440)
    (tmp_path / "key").symlink_to(tmp_path / "..data")
    assert keys.load(SealingSettings(key_file=tmp_path / "key"), tmp_path / "none").current.secret == RAW
    for mode in (0o444, 0o460):
        (tmp_path / "..data").chmod(mode)
        with pytest.raises(errors.Rejected):
            keys.load(SealingSettings(key_file=tmp_path / "key"), tmp_path / "none")


def test_a_key_that_is_not_there_is_missing(tmp_path):
    with pytest.raises(errors.Rejected) as raised:
        keys.load(SealingSettings(), tmp_path / "key")
    assert raised.value.code == "sealing_key_missing"
    assert str(tmp_path / "key") in raised.value.detail


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(errors.Rejected) as raised:
            keys.read_file(path)
        assert raised.value.code == "sealing_key_wrong"


def test_the_settings_beat_the_file_and_may_not_contradict_each_other(tmp_path):
    file = write(tmp_path / "key", RAW.hex())
    other = settings.Secret((b"o" * 32).hex())
    assert keys.load(SealingSettings(), file).current.secret == RAW
    assert keys.load(SealingSettings(key=other), file).current.secret == b"o" * 32
    both = keys.load(SealingSettings(key_file=file, old_key=other), tmp_path / "none")
    assert (both.current.secret, [old.secret for old in both.old]) == (RAW, [b"o" * 32])
    with pytest.raises(errors.Rejected):
        keys.load(SealingSettings(key=other, key_file=file), file)


def test_the_settings_are_read_like_any_others():
    environ = {"PENSTOCK_SEALING__KEY": RAW.hex(), "PENSTOCK_SEALING__OLD_KEY_FILE": "/run/secrets/old"}
    chosen = settings.load(SealingSettings, "sealing", {}, environ)
    assert chosen.key == settings.Secret(RAW.hex())
    assert str(chosen.old_key_file) == "/run/secrets/old"
    assert RAW.hex() not in repr(chosen)
