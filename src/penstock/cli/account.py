"""`penstock account`: a tenant's presences on channels, and their secrets."""

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, cast

import typer

from penstock.base import errors
from penstock.cli import account_secret, account_unknown, output, secret_source, verb

if TYPE_CHECKING:
    from penstock.app import house as houses
    from penstock.base import settings
    from penstock.channels import ports, registry
    from penstock.channels.model import account as model

group = typer.Typer(
    help="Accounts: where a tenant talks, with secrets that rotate.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
group.add_typer(account_secret.group, name="secret")
group.add_typer(account_unknown.group, name="unknown")

Id = Annotated[str, typer.Argument(help="The account's id.", show_default=False)]
Channel = Annotated[str, typer.Option("--channel", "-c", help="The channel's slug.")]
Config = Annotated[list[str] | None, typer.Option("--set", help="Configuration as name=value; repeat it.")]
Secrets = Annotated[
    list[str] | None,
    typer.Option("--secret", help=f"A secret as kind=source; repeat it. Sources: {secret_source.SOURCES}."),
]
Changes = Annotated[
    list[str] | None, typer.Argument(help="Fields as name=value; empty: take away.", show_default=False)
]
NewName = Annotated[str | None, typer.Option("--name", help="Another name for people.", show_default=False)]


def _pairs(values: list[str] | None, option: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in values or []:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"'{text}' is not name=value", param_hint=option)
        pairs[name] = value
    return pairs


def _document(found: "model.AccountDetails") -> dict[str, object]:
    return {
        "id": found.account.id,
        "tenant": found.account.tenant,
        "channel": found.account.channel,
        "name": found.account.name,
        "config": dict(found.account.config),
        "created_at": found.created_at,
        "disabled_at": found.disabled_at,
        "secrets": list(found.secrets),
    }


@group.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Its name for people.", show_default=False)],
    tenant: verb.Tenant,
    channel: Channel = "webhook",
    config: Config = None,
    secrets: Secrets = None,
    as_json: verb.AsJson = False,
) -> None:
    """Make an account; secrets that are made are shown once.

    Example: penstock account create shop -t acme --set url=https://example.org/hook
    """
    pairs = _pairs(config, "--set")
    given = secret_source.several(secrets, "--secret")
    given |= _asked_for(channel, given)

    async def work(house: "houses.House") -> dict[str, object]:
        from penstock.channels import ports

        made = await house.channels.accounts.create(tenant, channel, name, config=pairs, secrets=given)
        signing = made.secrets[ports.SecretKind.SIGNING]
        return {
            "id": made.account.id,
            "webhook_url": house.webhook_url(made.account),
            "secret_id": signing.id,
            **({"secret": signing.secret.reveal()} if signing.made else {}),
            "secrets": [account_secret.document(one) for one in made.secrets.values()],
        }

    def show(made: dict[str, object]) -> None:
        output.line(f"account  {made['id']}")
        output.line(f"webhook  {made['webhook_url']}")
        told = [one for one in cast("list[dict[str, str]]", made["secrets"]) if "secret" in one]
        for one in told:
            output.line(f"{'secret' if one['kind'] == 'signing' else one['kind']:8} {one['secret']}")
        output.line("The secret is shown this once; from here on it is sealed." if told else "Its secrets are sealed.")

    verb.operate(work, show, as_json=as_json)


def _asked_for(
    channel: str, given: "Mapping[ports.SecretKind, settings.Secret]"
) -> "dict[ports.SecretKind, settings.Secret]":
    """What only the platform gives out and was not given, where somebody is there to be asked."""
    if not secret_source.may_ask():
        return {}
    from penstock.app import configuration, house

    missing: list[registry.SecretField] = []
    with contextlib.suppress(errors.Rejected):  # a channel that does not exist is refused by whoever makes accounts
        known = house.known_channels(configuration.load())
        missing = [field for field in known.find(channel).secrets if not field.made and field.kind not in given]
    asked: dict[ports.SecretKind, settings.Secret] = {}
    for field in missing:
        output.note(field.meaning)
        asked[field.kind] = secret_source.read("ask", field.kind, "--secret")
    return asked


@group.command("ls")
def ls(tenant: verb.Tenant, as_json: verb.AsJson = False) -> None:
    """List a tenant's accounts.

    Example: penstock account ls -t acme
    """

    async def work(house: "houses.House") -> list[dict[str, object]]:
        return [_document(found) for found in await house.channels.accounts.list(tenant)]

    def show(found: list[dict[str, object]]) -> None:
        columns = ["id", "channel", "name", "created_at", "disabled_at"]
        rows = [[each[column] for column in columns] for each in found]
        output.table(columns, rows, empty=f"no accounts yet: penstock account create NAME -t {tenant}")

    verb.operate(work, show, as_json=as_json)


@group.command("show")
def show_one(id: Id, tenant: verb.Tenant, as_json: verb.AsJson = False) -> None:
    """Show one account without its secrets.

    Example: penstock account show acc-... -t acme
    """

    async def work(house: "houses.House") -> dict[str, object]:
        found = await house.channels.accounts.show(tenant, id)
        return {**_document(found), "webhook_url": house.webhook_url(found.account)}

    verb.operate(work, _show, as_json=as_json)


def _show(found: dict[str, object]) -> None:
    for name, value in found.items():
        if name != "secrets":
            output.line(f"{name:12} {'-' if value in (None, '', {}) else value}")
    for each in cast("list[model.SecretDetails]", found["secrets"]):
        state = "retired" if each.retired_at else "live"
        output.line(f"{'secret':12} {each.id} {each.kind} {state} since {each.retired_at or each.created_at}")


@group.command("set")
def change(
    id: Id,
    tenant: verb.Tenant,
    fields: Changes = None,
    name: NewName = None,
    as_json: verb.AsJson = False,
) -> None:
    """Change its configuration or its name.

    Example: penstock account set acc-... url=https://example.org/hook -t acme
    """
    pairs = _pairs(fields, "fields")
    if not pairs and name is None:
        raise typer.BadParameter("say what to change: name=value, or --name", param_hint="fields")

    async def work(house: "houses.House") -> dict[str, object]:
        return _document(await house.channels.accounts.change(tenant, id, name=name, config=pairs))

    verb.operate(work, lambda _: output.line(f"account {id} changed"), as_json=as_json)


@group.command("disable")
def disable(id: Id, tenant: verb.Tenant, as_json: verb.AsJson = False) -> None:
    """Let nothing in or out, anywhere.

    Example: penstock account disable acc-... -t acme
    """

    async def work(house: "houses.House") -> dict[str, object]:
        await house.channels.accounts.disable(tenant, id)
        return {"id": id, "disabled": True}

    verb.operate(work, lambda _: output.line(f"account {id} disabled"), as_json=as_json)


@group.command("enable")
def enable(id: Id, tenant: verb.Tenant, as_json: verb.AsJson = False) -> None:
    """End that.

    Example: penstock account enable acc-... -t acme
    """

    async def work(house: "houses.House") -> dict[str, object]:
        await house.channels.accounts.enable(tenant, id)
        return {"id": id, "disabled": False}

    verb.operate(work, lambda _: output.line(f"account {id} enabled"), as_json=as_json)
