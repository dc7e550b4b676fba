"""Settings are read once: defaults, file, environment; misspelt names are refused and secrets never print."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors, settings

BUILT_IN = settings.Secret("built-in")


@dataclasses.dataclass(frozen=True, slots=True)
class RoomSettings:
    """Settings of a room."""

    workers: int = 4
    """How many."""

    window_s: float = 60.0
    """How long."""

    name: str = "default"
    """What it is called."""

    enabled: bool = True
    """Whether."""

    path: Path = Path("/tmp")
    """Where."""

    key: settings.Secret = BUILT_IN
    """What opens it."""

    maybe: int | None = None
    """Perhaps."""


def load(file: dict[str, Any] | None = None, **environ: str) -> RoomSettings:
    return settings.load(RoomSettings, "room", file or {}, environ)


def test_defaults_hold_when_nothing_is_said() -> None:
    assert load() == RoomSettings()


def test_the_environment_comes_before_the_file_and_the_file_before_the_defaults() -> None:
    loaded = load({"room": {"workers": 5, "name": "file"}, "other": {"x": 1}}, PENSTOCK_ROOM__WORKERS="6")
    assert (loaded.workers, loaded.name, loaded.window_s) == (6, "file", 60.0)


def test_texts_become_the_type_of_their_field() -> None:
    loaded = load(
        PENSTOCK_ROOM__WINDOW_S="1.5",
        PENSTOCK_ROOM__ENABLED="false",
        PENSTOCK_ROOM__PATH="/srv/a b",
        PENSTOCK_ROOM__KEY="hush",
        PENSTOCK_ROOM__MAYBE="7",
    )
    assert (loaded.window_s, loaded.enabled, loaded.path, loaded.maybe) == (1.5, False, Path("/srv/a b"), 7)
    assert loaded.key.reveal() == "hush"


def test_variables_of_other_rooms_and_programs_are_left_alone() -> None:
    assert load(PENSTOCK_ROOMY__X="1", PENSTOCK_URL="x", ROOM__WORKERS="9", HOME="/root") == RoomSettings()


@pytest.mark.parametrize(
    ("file", "environ"),
    [({"room": {"wokers": 1}}, {}), ({}, {"PENSTOCK_ROOM__WOKERS": "1"})],
)
def test_a_misspelt_setting_is_refused_by_name(file: dict[str, Any], environ: dict[str, str]) -> None:
    with pytest.raises(errors.Rejected) as refused:
        load(file, **environ)
    assert (refused.value.code, refused.value.field) == ("unknown_setting", "room.wokers")
    assert "workers" in refused.value.hint


@pytest.mark.parametrize(
    ("name", "value"), [("workers", "many"), ("window_s", ""), ("enabled", "perhaps"), ("maybe", "1.5")]
)
def test_a_value_of_the_wrong_type_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(errors.Rejected) as refused:
        load(**{f"PENSTOCK_ROOM__{name.upper()}": value})
    assert (refused.value.code, refused.value.field.split(".")[:2]) == ("bad_setting", ["room", name])


def test_a_refusal_does_not_repeat_what_was_said() -> None:
    with pytest.raises(errors.Rejected) as refused:
        load(PENSTOCK_ROOM__WORKERS="a-secret-in-the-wrong-place")
    assert "a-secret-in-the-wrong-place" not in str(refused.value)


def test_a_rejection_of_the_settings_themselves_reaches_the_caller() -> None:
    @dataclasses.dataclass(frozen=True)
    class Strict:
        """Refuses."""

        workers: int = 1

        def __post_init__(self) -> None:
            if self.workers < 1:
                raise errors.Rejected("too_few", "at least one worker", field="room.workers")

    with pytest.raises(errors.Rejected) as refused:
        settings.load(Strict, "room", {}, {"PENSTOCK_ROOM__WORKERS": "0"})
    assert refused.value.code == "too_few"


@given(st.text(min_size=4))
def test_law_a_secret_never_prints(text: str) -> None:
    secret = settings.Secret(text)
    held = dataclasses.replace(RoomSettings(), key=secret)
    plain = f"{dataclasses.replace(RoomSettings(), key=settings.Secret('x'))}"
    assert f"{secret} {secret!r} {secret!s}" == "Secret('***') Secret('***') Secret('***')"
    assert f"{held}" == plain
    assert secret.reveal() == text


def test_secrets_are_equal_by_their_text() -> None:
    assert settings.Secret("a") == settings.Secret("a") != settings.Secret("b")
    assert settings.Secret("a") != "a"
    assert len({settings.Secret("a"), settings.Secret("a")}) == 1


def test_a_file_has_a_table_for_each_room(tmp_path: Path) -> None:
    path = tmp_path / "penstock.toml"
    path.write_text("[room]\nworkers = 7\nname = 'Grüße'\n", "utf-8")
    assert load(settings.read_file(path)).name == "Grüße"
    assert settings.read_file(None) == {}


@pytest.mark.parametrize("content", [b"[room", b"workers = = 1", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "penstock.toml"
    path.write_bytes(content)
    with pytest.raises(errors.Rejected) as refused:
        settings.read_file(path)
    assert refused.value.code == "bad_settings_file"
    assert "penstock.toml" in refused.value.detail


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.Rejected) as refused:
        settings.read_file(tmp_path / "nowhere.toml")
    assert refused.value.code == "no_settings_file"


def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(errors.Rejected) as refused:
        settings.read_file(tmp_path)
    assert refused.value.code == "bad_settings_file"
    assert str(tmp_path) in refused.value.detail


def test_a_table_that_is_no_table_is_refused() -> None:
    with pytest.raises(errors.Rejected) as refused:
        load({"room": 1})
    assert refused.value.field == "room"
