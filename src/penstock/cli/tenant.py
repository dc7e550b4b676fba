"""`penstock tenant`: who lives here."""

from typing import Annotated

import typer

from penstock.cli import output, verb

group = typer.Typer(
    help="Tenants: walled-off customers, teams or products.", no_args_is_help=True, rich_markup_mode=None
)

Name = Annotated[str, typer.Argument(help="The tenant's slug: lower-case letters, digits, dashes.", show_default=False)]
Title = Annotated[str, typer.Option(help="Its name for people.")]


@group.command("create")
def create(name: Name, title: Title = "", as_json: verb.AsJson = False) -> None:
    """Make a tenant.

    Example: penstock tenant create acme --title "Acme Ltd"
    """
    verb.operate(
        lambda house: house.tenancy.create(name, title),
        lambda made: output.line(f"tenant {made.id} created"),
        as_json=as_json,
    )


@group.command("ls")
def ls(as_json: verb.AsJson = False) -> None:
    """List tenants.

    Example: penstock tenant ls --json
    """
    verb.operate(
        lambda house: house.tenancy.list(),
        lambda found: output.table(
            ["tenant", "title", "state", "created"],
            [(t.id, t.title, t.state, t.created_at) for t in found],
            empty="no tenants yet: penstock tenant create acme",
        ),
        as_json=as_json,
    )


@group.command("suspend")
def suspend(name: Name, as_json: verb.AsJson = False) -> None:
    """Let nothing in or out, within 30 s everywhere; nothing is lost.

    Example: penstock tenant suspend acme
    """
    verb.operate(
        lambda house: house.tenancy.suspend(name),
        lambda state: output.line(f"tenant {state.id} suspended"),
        as_json=as_json,
    )


@group.command("resume")
def resume(name: Name, as_json: verb.AsJson = False) -> None:
    """End a suspension.

    Example: penstock tenant resume acme
    """
    verb.operate(
        lambda house: house.tenancy.resume(name),
        lambda state: output.line(f"tenant {state.id} resumed"),
        as_json=as_json,
    )
