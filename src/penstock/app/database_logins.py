"""The logins of a production database: one per role of the table, and one for the operator's verbs.

Passwords are made here and written to files that only their owner may read; nothing prints them.
"""

import dataclasses
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from penstock.app import roles, schema
from penstock.base import errors, settings
from penstock.database import logins
from penstock.sealing import files as private
from penstock.servers import files

OPERATOR: Final = "operator"
"""The login of whoever calls verbs: all rooms, and `secret rekey`."""

PREFIX: Final = "penstock_run_"


@dataclasses.dataclass(frozen=True, slots=True)
class Prepared:
    """What was done: migrations applied, and by login the file that holds its URL."""

    applied: Sequence[str]
    files: Mapping[str, str]


async def prepare(admin_url_file: Path, folder: Path, *, names: Sequence[str] = (), renew: bool = False) -> Prepared:
    """Schemas, rooms' roles and a login for each role of the table (or those `names`) and for the operator.

    `folder/<role>` gets the URL to run that role with. A file that is there keeps its password unless `renew`. Raises
    Rejected for a file that others may read, an unknown role, or a user who may not do this.
    """
    admin_url = _read(admin_url_file)
    _make(folder)
    wanted = [login(name, _password(folder / name, renew=renew)) for name in _named(names)]
    placed: dict[str, str] = {}
    with files.explained(folder):
        # Written before the database knows them: a crash in between leaves a file whose password the next call sets.
        for each in wanted:
            path = folder / each.name.removeprefix(PREFIX)
            files.write_private(path, logins.url_as(admin_url, each.name, each.password) + "\n")
            placed[each.name] = str(path)
    applied = await logins.prepare(admin_url, schema.rooms(), wanted)
    return Prepared(applied, placed)


def login(name: str, password: settings.Secret) -> logins.Wanted:
    """The login of a role of the table, or of the operator: what it may become follows from what it runs."""
    if name == OPERATOR:
        rooms = tuple(each.room for each in schema.rooms())
        return logins.Wanted(PREFIX + name, password, rooms, relays=True, rekeys=True)
    [role] = roles.select([name])
    return logins.Wanted(PREFIX + name, password, role.rooms, relays=role.publishes)


def _make(folder: Path) -> None:
    with files.explained(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _named(names: Sequence[str]) -> list[str]:
    """The logins that are meant, each once; all of them where none is named."""
    chosen = [name for name in names if name != OPERATOR]
    found = [role.name for role in roles.select(chosen or ["all"])] if chosen or not names else []
    return [*found, OPERATOR] if OPERATOR in names or not names else found


def _password(path: Path, *, renew: bool) -> settings.Secret:
    """The password in the file's URL, or a new one."""
    if not renew and path.exists():
        found = urlsplit(_read(path)).password
        if not found:
            raise errors.Rejected("bad_secret", f"{path} holds no URL with a password", hint="Remove it, or --renew.")
        return settings.Secret(unquote(found))
    return settings.Secret(secrets.token_urlsafe(32))


def _read(path: Path) -> str:
    try:
        return private.read_private(path, mounted=True).strip()
    except private.Unfit as unfit:
        raise errors.Rejected("bad_secret", f"the file with a Postgres URL {unfit.words}", hint=unfit.hint) from None
