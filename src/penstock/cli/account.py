"""`penstock account`: a tenant's presences on channels, and their secrets."""

from typing import Annotated

import typer

from penstock.cli import main, output

account = typer.Typer(
    help="Accounts: a tenant's presences on channels, with two live secrets each.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
main.application.add_typer(account, name="account")

Id = Annotated[str, typer.Argument(help="The account's id.", show_default=False)]
Channel = Annotated[str, typer.Option("--channel", help="The channel's slug.")]
Config = Annotated[list[str] | None, typer.Option("--set", help="Configuration as name=value; repeat it.")]


def _pairs(values: list[str] | None) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in values or []:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"'{text}' is not name=value", param_hint="--set")
        pairs[name] = value
    return pairs


@account.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Its name for people.")],
    tenant: main.Tenant,
    channel: Channel = "webhook",
    config: Config = None,
    as_json: main.AsJson = False,
) -> None:
    """Make an account; its secret is shown once. Example: penstock account create shop -t acme --set url=https://..."""
    pairs = _pairs(config)

    def show(made: tuple[object, ...]) -> None:
        found, secret, url = made
        output.line(f"account {found.id} created")  # type: ignore[attr-defined]
        output.line(f"webhook   {url}")
        output.line(f"secret    {secret}   (shown once; sealed from here on)")

    main.operate(lambda house: house.create_account(tenant, channel, name, pairs), show, as_json=as_json)
