"""`penstock account`: a tenant's presences on channels, and their secrets."""

from typing import TYPE_CHECKING, Annotated, cast

import typer

from penstock.cli import output, verb

if TYPE_CHECKING:
    from penstock.app import house as houses
    from penstock.channels.model import account as model

group = typer.Typer(
    help="Accounts: where a tenant talks, with two live secrets each.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
secret = typer.Typer(help="Rotate: add, tell the platform, retire.", no_args_is_help=True, rich_markup_mode=None)
group.add_typer(secret, name="secret")

Id = Annotated[str, typer.Argument(help="The account's id.", show_default=False)]
Channel = Annotated[str, typer.Option("--channel", "-c", help="The channel's slug.")]
Config = Annotated[list[str] | None, typer.Option("--set", help="Configuration as name=value; repeat it.")]


def _pairs(values: list[str] | None) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in values or []:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"'{text}' is not name=value", param_hint="--set")
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
    as_json: verb.AsJson = False,
) -> None:
    """Make an account; its secret is shown once.

    Example: penstock account create shop -t acme --set url=https://example.org/hook
    """
    pairs = _pairs(config)

    async def work(house: "houses.House") -> dict[str, str]:
        made = await house.channels.accounts.create(tenant, channel, name, config=pairs)
        return {
            "id": made.account.id,
            "webhook_url": house.webhook_url(made.account),
            "secret_id": made.secret.id,
            "secret": made.secret.secret.reveal(),
        }

    def show(made: dict[str, str]) -> None:
        output.line(f"account  {made['id']}")
        output.line(f"webhook  {made['webhook_url']}")
        output.line(f"secret   {made['secret']}")
        output.line("The secret is shown this once; from here on it is sealed.")

    verb.operate(work, show, as_json=as_json)


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
        output.line(f"{'secret':12} {each.id} {state} since {each.retired_at or each.created_at}")


@group.command("disable")
def disable(id: Id, tenant: verb.Tenant, as_json: verb.AsJson = False) -> None:
    """Let nothing in or out, within 10 s everywhere.

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


@secret.command("add")
def add_secret(id: Id, tenant: verb.Tenant, as_json: verb.AsJson = False) -> None:
    """Add a second live secret; it is shown once.

    Example: penstock account secret add acc-... -t acme
    """

    async def work(house: "houses.House") -> dict[str, str]:
        made = await house.channels.accounts.add_secret(tenant, id)
        return {"account": id, "secret_id": made.id, "secret": made.secret.reveal()}

    verb.operate(work, lambda made: output.line(f"secret {made['secret_id']}  {made['secret']}"), as_json=as_json)


@secret.command("retire")
def retire_secret(
    id: Id,
    secret_id: Annotated[str, typer.Argument(help="The secret's id, from 'account show'.", show_default=False)],
    tenant: verb.Tenant,
    as_json: verb.AsJson = False,
) -> None:
    """Forget a secret; without one an account is shut.

    Example: penstock account secret retire ACC ID -t acme
    """

    async def work(house: "houses.House") -> dict[str, str]:
        await house.channels.accounts.retire_secret(tenant, id, secret_id)
        return {"account": id, "secret_id": secret_id}

    verb.operate(work, lambda _: output.line(f"secret {secret_id} retired"), as_json=as_json)
