"""Writes the table of `access` as the `accounts` block of nats-server's configuration.

The language: https://docs.nats.io/running-a-nats-service/configuration. Every word that is not ours stands in quotes.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from penstock.base import errors
from penstock.spine import access

_ESCAPED: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_HASH: Final = "$2"
"""What bcrypt hashes begin with: the server would take such a password for the hash of another."""


SecretOf = Callable[[str], str]
"""What stands behind `password:` for a login: made by `quoted` or `variable`."""


def render(owner: str, accounts: Sequence[access.Account], secret_of: SecretOf) -> str:
    """The block; `owner` is the login of the owner's account. Raises Rejected `twin_account`."""
    if owner in {account.login for account in accounts}:
        raise access.twins()
    lines = ["accounts {", f"  {access.OWNER} {{", "    jetstream: enabled"]
    lines.append(f"    users: [{_user(owner, secret_of(owner))}]")
    exported = access.exports(accounts)
    if exported:
        lines += ["    exports: [", *(_export(each, users) for each, users in exported.items()), "    ]"]
    lines.append("  }")
    for account in accounts:
        lines += _account(account, secret_of(account.login))
    return "\n".join([*lines, "}", ""])


def _account(account: access.Account, secret: str) -> Iterator[str]:
    yield f"  {quoted(account.name)} {{"
    yield f"    users: [{_user(account.login, secret)}]"
    limits = {"max_connections": account.connections, "max_subscriptions": account.subscriptions}
    if said := ", ".join(f"{name}: {most}" for name, most in limits.items() if most):
        yield f"    limits: {{ {said} }}"
    yield "    imports: ["
    for each in account.imports:
        name = f", to: {quoted(each.to)}" if each.to else ""
        yield f"      {{ service: {{ account: {access.OWNER}, subject: {quoted(each.subject)} }}{name} }}"
    yield "    ]"
    yield "  }"


def _user(name: str, secret: str) -> str:
    return f"{{ user: {quoted(name)}, password: {secret} }}"


def _export(export: access.Export, users: Sequence[str]) -> str:
    several = ", response_type: Stream" if export.many else ""
    return f"      {{ service: {quoted(export.subject)}{several}, accounts: [{', '.join(map(quoted, users))}] }}"


def quoted(text: str) -> str:
    """A string of the configuration language. Raises Rejected for what would mean something else in there."""
    if text.startswith(_HASH) or not text.isascii() or not all(char.isprintable() or char in _ESCAPED for char in text):
        raise errors.Rejected(
            "bad_account", "a name or password of the bus has characters that nats-server reads otherwise"
        )
    return '"' + "".join(_ESCAPED.get(char, char) for char in text) + '"'


def variable(login: str) -> str:
    """A variable of the server's environment, in place of a password: no two logins have the same one."""
    # A login is a slug: letters, digits and dashes.
    return f"$PENSTOCK_{login.upper().replace('-', '_')}_PASSWORD"
