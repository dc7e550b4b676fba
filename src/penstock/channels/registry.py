"""Reads the one list of channels, so that a channel is a line in a file and never a member of an enum.

The format is described at the head of `registry.toml`.
"""

import dataclasses
import functools
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from penstock.base import errors, ids
from penstock.channels import ports

VALUE_LENGTH: Final = 2048
"""Characters that one value of an account's configuration may have."""

_FIELD = re.compile(r"[a-z][a-z0-9_]{0,39}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_KEYS: Final = {"title", "aliases", "config", "secret"}


@dataclasses.dataclass(frozen=True, slots=True)
class ConfigField:
    """One thing that an account of a channel is configured with; never a secret."""

    name: str
    meaning: str
    required: bool


@dataclasses.dataclass(frozen=True, slots=True)
class SecretField:
    """One kind of secret that each account of a channel has.

    `made`: Penstock may make one, because it is told to the platform; otherwise the platform gives it out.
    """

    kind: ports.SecretKind
    meaning: str
    made: bool


@dataclasses.dataclass(frozen=True, slots=True)
class ChannelEntry:
    """One channel of the registry."""

    slug: ids.ChannelName
    title: str
    aliases: tuple[ids.ChannelName, ...]
    config: tuple[ConfigField, ...]
    secrets: tuple[SecretField, ...]

    def secret(self, kind: ports.SecretKind) -> SecretField:
        """The kind of secret, as this channel needs it. Raises Rejected `bad_secret` when it has no use for one."""
        for field in self.secrets:
            if field.kind == kind:
                return field
        listed = ", ".join(field.kind for field in self.secrets)
        raise errors.Rejected(
            "bad_secret", f"{self.slug} has no use for a {kind} secret", hint=f"It has: {listed}.", field="secret"
        )

    def check_fields(self, config: Mapping[str, str]) -> None:
        """Raise Rejected naming the field when one is missing, unknown, empty, too long or holds control characters.

        What a value means is for the channel's own `check_config`.
        """
        known = {field.name: field for field in self.config}
        for name in config:
            if name not in known:
                listed = ", ".join(known) or "none"
                raise _bad_config(f"config.{name[:40]}", f"{self.slug} has no such field", f"It has: {listed}.")
        for field in self.config:
            value = config.get(field.name, "")
            if not value and (field.required or field.name in config):
                raise _bad_config(f"config.{field.name}", "must not be empty", field.meaning)
            if len(value) > VALUE_LENGTH or _CONTROL.search(value):
                rule = f"must be at most {VALUE_LENGTH} characters, none of them a control character"
                raise _bad_config(f"config.{field.name}", rule, "")


@dataclasses.dataclass(frozen=True, slots=True)
class Registry:
    """All channels, found by slug or alias."""

    entries: tuple[ChannelEntry, ...]

    def __post_init__(self) -> None:
        """Refuse two channels that answer to the same name."""
        seen: dict[str, str] = {}
        for entry in self.entries:
            for name in (entry.slug, *entry.aliases):
                if name in seen:
                    raise errors.Rejected(
                        "duplicate_channel", f"'{name}' names both {seen[name]} and {entry.slug}", field=name
                    )
                seen[name] = entry.slug

    def joined(self, *others: "Registry") -> "Registry":
        """All channels of this one and the others. Raises Rejected when two answer to one name."""
        return Registry(self.entries + tuple(entry for other in others for entry in other.entries))

    def find(self, name: str) -> ChannelEntry:
        """The channel with that slug or alias. Raises Rejected (404) when there is none."""
        for entry in self.entries:
            if name == entry.slug or name in entry.aliases:
                return entry
        known = ", ".join(entry.slug for entry in self.entries)
        raise errors.Rejected(
            "no_such_channel", "there is no channel of that name", hint=f"There are: {known}.", status=404
        )

    def resolve(self, name: str) -> ids.ChannelName:
        """The slug that a slug or an alias stands for. Raises Rejected (404) when there is none."""
        return self.find(name).slug


def parse(text: str) -> Registry:
    """A registry from TOML. Raises Rejected naming the entry and the rule."""
    try:
        tables: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise errors.Rejected("bad_registry", f"the registry is not valid TOML: {error}") from None
    return Registry(tuple(_entry(slug, table) for slug, table in tables.items()))


@functools.cache
def load() -> Registry:
    """The channels that ship with Penstock."""
    return parse(Path(__file__).with_suffix(".toml").read_text("utf-8"))


def _entry(slug: str, table: object) -> ChannelEntry:
    name = ids.ChannelName(ids.slug(slug, "channel"))
    values = _table(slug, table, _KEYS)
    title, aliases = values.get("title"), values.get("aliases", [])
    if not isinstance(title, str) or not title:
        raise errors.Rejected("bad_registry", f"{slug}.title must be a text", field=f"{slug}.title")
    if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in cast("list[object]", aliases)):
        raise errors.Rejected("bad_registry", f"{slug}.aliases must be a list of slugs", field=f"{slug}.aliases")
    fields = _table(f"{slug}.config", values.get("config", {}), None)
    return ChannelEntry(
        name,
        title,
        tuple(ids.ChannelName(ids.slug(alias, f"{slug}.aliases")) for alias in cast("list[str]", aliases)),
        tuple(_config_field(slug, field, value) for field, value in fields.items()),
        _secret_fields(slug, values.get("secret", {})),
    )


def _config_field(slug: str, name: str, table: object) -> ConfigField:
    path = f"{slug}.config.{name}"
    values = _table(path, table, {"meaning", "required"})
    meaning, required = values.get("meaning"), values.get("required", True)
    if not _FIELD.fullmatch(name) or not isinstance(meaning, str) or not meaning or not isinstance(required, bool):
        raise errors.Rejected(
            "bad_registry", f"{path} must be a lower-case name with a meaning and, perhaps, required", field=path
        )
    return ConfigField(name, meaning, required)


def _secret_fields(slug: str, value: object) -> tuple[SecretField, ...]:
    tables = _table(f"{slug}.secret", value, {kind.value for kind in ports.SecretKind})
    if ports.SecretKind.SIGNING not in tables:
        raise errors.Rejected(
            "bad_registry", f"{slug}.secret.signing is missing: nothing else proves who calls", field=f"{slug}.secret"
        )
    return tuple(_secret_field(slug, kind, table) for kind, table in tables.items())


def _secret_field(slug: str, kind: str, table: object) -> SecretField:
    path = f"{slug}.secret.{kind}"
    values = _table(path, table, {"meaning", "made"})
    meaning, made = values.get("meaning"), values.get("made")
    if not isinstance(meaning, str) or not meaning or not isinstance(made, bool):
        raise errors.Rejected("bad_registry", f"{path} must have a meaning, and say whether it is made", field=path)
    return SecretField(ports.SecretKind(kind), meaning, made)


def _table(path: str, value: object, keys: set[str] | None) -> dict[str, object]:
    if not isinstance(value, dict):
        raise errors.Rejected("bad_registry", f"{path} must be a table", field=path)
    table = cast("dict[str, object]", value)
    if keys is not None and (unknown := sorted(set(table) - keys)):
        raise errors.Rejected("bad_registry", f"{path} has no '{unknown[0]}'", field=f"{path}.{unknown[0]}")
    return table


def _bad_config(field: str, rule: str, hint: str) -> errors.Rejected:
    return errors.Rejected("bad_config", f"{field}: {rule}", hint=hint, field=field)
