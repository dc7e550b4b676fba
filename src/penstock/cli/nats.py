"""`penstock nats`: what a nats-server of one's own has to know."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli import output, verb

if TYPE_CHECKING:
    from penstock.app import bus_accounts

group = typer.Typer(help="A nats-server of your own.", no_args_is_help=True, rich_markup_mode=None)


@group.command("accounts")
def accounts(
    tenant: Annotated[
        list[str] | None, typer.Option("--tenant", "-t", help="A tenant's slug.", show_default="every tenant there is")
    ] = None,
    app: Annotated[list[str] | None, typer.Option("--app", help="An app of a tenant: TENANT/APP.")] = None,
    owner: Annotated[str, typer.Option(help="The login of the core.")] = "penstock",
    into: Annotated[
        Path | None, typer.Option(help="Make passwords; write all into this folder.", show_default="print")
    ] = None,
    url: Annotated[str, typer.Option(help="With --into: where apps find the servers.")] = "nats://127.0.0.1:4222",
    data: verb.Data = None,
    as_json: verb.AsJson = False,
) -> None:
    """Print its accounts: one for each role and tenant.

    Passwords are variables of the server's environment, unless you write it into a folder.

    Example: penstock nats accounts -t acme --app acme/echo
    """

    async def work() -> "str | bus_accounts.Written":
        from penstock.app import bus_accounts, configuration

        found = configuration.load(data_folder=data)
        who = await bus_accounts.wanted(found, tenant or [], app or [], owner=owner)
        return bus_accounts.with_variables(who) if into is None else bus_accounts.write(found, who, into, url)

    made = verb.run(work, as_json=as_json)
    if as_json:
        output.document({"accounts": made} if isinstance(made, str) else made)
    elif isinstance(made, str):
        for line in made.splitlines():
            output.line(line)
    else:
        output.line(f"{made.configuration}: include it in the server's configuration, then reload it, twice")
        output.line(f"{made.logins}: PENSTOCK_LOGINS of apps")
