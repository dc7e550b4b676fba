"""`penstock account secret`: rotate what an account signs and calls with."""

from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli import output, secret_source, verb

if TYPE_CHECKING:
    from penstock.app import house as houses
    from penstock.channels.service import accounts

group = typer.Typer(help="Rotate: add, tell the platform, retire.", no_args_is_help=True, rich_markup_mode=None)

Id = Annotated[str, typer.Argument(help="The account's id.", show_default=False)]
Kind = Annotated[str, typer.Option("--kind", "-k", help="What it proves: signing or token.")]
Source = Annotated[str, typer.Option("--from", help=f"Where it is: {secret_source.SOURCES}; made without this.")]


def document(made: "accounts.NewSecret") -> dict[str, str]:
    """What is told of a new secret: itself only when we made it, for whoever brought it along has it."""
    told = {"id": made.id, "kind": made.kind.value}
    return {**told, "secret": made.secret.reveal()} if made.made else told


@group.command("add")
def add(
    id: Id,
    tenant: verb.Tenant,
    kind: Kind = "signing",
    source: Source = "",
    as_json: verb.AsJson = False,
) -> None:
    """Add a second live secret; what is made is shown once.

    Example: penstock account secret add acc-... -t acme --kind token --from @token.txt
    """
    chosen = secret_source.kind_of(kind, "--kind")
    secret = secret_source.read(source, kind, "--from") if source else None

    async def work(house: "houses.House") -> dict[str, str]:
        made = await house.channels.accounts.add_secret(tenant, id, secret, kind=chosen)
        return {"account": id, "secret_id": made.id, **document(made)}

    def show(made: dict[str, str]) -> None:
        output.line(f"secret {made['secret_id']}  {made.get('secret', f'{kind}, sealed')}")

    verb.operate(work, show, as_json=as_json)


@group.command("retire")
def retire(
    id: Id,
    secret_id: Annotated[str, typer.Argument(help="The secret's id, from 'account show'.", show_default=False)],
    tenant: verb.Tenant,
    as_json: verb.AsJson = False,
) -> None:
    """Forget a secret; without one that signs an account is shut.

    Example: penstock account secret retire ACC ID -t acme
    """

    async def work(house: "houses.House") -> dict[str, str]:
        await house.channels.accounts.retire_secret(tenant, id, secret_id)
        return {"account": id, "secret_id": secret_id}

    verb.operate(work, lambda _: output.line(f"secret {secret_id} retired"), as_json=as_json)
