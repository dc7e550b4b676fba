"""Loads channels of other distributions: those that the settings name, and nothing that merely happens to be installed.

Code is not looked for: a name is `module:factory`, written down by whoever runs the installation. What it brings must
be one channel of a slug that nobody else has, so that no stranger takes the place of a channel that ships.
"""

from importlib import metadata
from typing import Final

from penstock.base import errors
from penstock.channels import ports, registry

GROUP: Final = "penstock.channels"


def names(setting: str) -> list[str]:
    """The factories that a setting names. Raises Rejected when one stands there twice."""
    found = [name.strip() for name in setting.split(",") if name.strip()]
    if twice := sorted({name for name in found if found.count(name) > 1}):
        raise _refused(twice[0], "stands there twice")
    return found


def load(name: str, *, timeout_s: float, tolerance_s: float) -> tuple[registry.Registry, ports.Channel]:
    """A channel with the registry that holds its entry. Raises Rejected `bad_adapter` saying what is wrong with it."""
    point = metadata.EntryPoint("adapter", name, GROUP)
    module, colon, factory = name.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module.split("."), *factory.split("."))):
        raise _refused(name, "must be module:factory")
    try:
        made: object = point.load()(timeout_s=timeout_s, tolerance_s=tolerance_s)
    except errors.PenstockError:
        raise
    except Exception as error:
        raise _refused(name, f"cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(made, ports.Extension):
        raise _refused(name, "must return a penstock.channels.ports.Extension")
    try:
        known = registry.parse(made.registry)
    except errors.Rejected as error:
        raise _refused(name, error.detail) from None
    if [entry.slug for entry in known.entries] != [made.channel.name]:
        raise _refused(name, f"its registry must hold one entry, '{made.channel.name}'")
    return known, made.channel


def _refused(name: str, rule: str) -> errors.Rejected:
    field = "channels.adapters"
    return errors.Rejected("bad_adapter", f"{field}: '{name[:100]}' {rule[:300]}", field=field)
