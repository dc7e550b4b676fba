"""Configuration is read once, at the border: defaults, then a TOML file, then the environment.

Each room has one frozen dataclass with a docstring under each field. `PENSTOCK_CHANNELS__REPLAY_WINDOW_S=60` sets the
field `replay_window_s` of the room `channels`; the TOML file has a table per room. Unknown names are refused, so that
a misspelt setting is never silently ignored.
"""

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from penstock.base import errors

PREFIX: Final = "PENSTOCK_"
S = TypeVar("S")


class Secret:
    """A text that never prints: `reveal()` is the only way to it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Let the settings loader accept a plain string (pydantic's hook for types it does not know)."""
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, cls) else cls(str(value))
        )


def read_file(path: Path | None) -> dict[str, Any]:
    """The TOML file's tables by room; empty without a file. Raises Rejected naming the line that is wrong."""
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise errors.Rejected("no_settings_file", f"there is no settings file at {path}") from None
    except OSError as error:
        raise errors.Rejected("bad_settings_file", f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise errors.Rejected("bad_settings_file", f"{path} is not valid TOML: {error}") from None


def load(settings: type[S], room: str, file: Mapping[str, Any], environ: Mapping[str, str]) -> S:
    """One room's settings from its defaults, its table in the file and its variables in the environment.

    Raises Rejected naming the field and the rule.
    """
    from pydantic import TypeAdapter, ValidationError

    fields = {field.name for field in dataclasses.fields(cast("Any", settings))}
    prefix = f"{PREFIX}{room.upper()}__"
    table = file.get(room, {})
    if not isinstance(table, Mapping):
        raise errors.Rejected("bad_setting", f"{room} is a table of settings: write [{room}]", field=room)
    values = dict(cast("Mapping[str, Any]", table))
    values |= {name[len(prefix) :].lower(): text for name, text in environ.items() if name.startswith(prefix)}
    if unknown := sorted(set(values) - fields):
        raise errors.Rejected(
            "unknown_setting",
            f"{room} has no setting '{unknown[0]}'",
            hint=f"It has: {', '.join(sorted(fields))}.",
            field=f"{room}.{unknown[0]}",
        )
    try:
        return TypeAdapter(settings).validate_python(values)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join([room, *map(str, first["loc"])])
        raise errors.Rejected("bad_setting", f"{field}: {first['msg']}", field=field) from None
