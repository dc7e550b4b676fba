"""`penstock up`, `run` and `demo`: what keeps running until it is told to stop."""

from pathlib import Path
from typing import Annotated

import typer

from penstock.cli import main, output

Data = Annotated[
    Path | None,
    typer.Option("--data", envvar="PENSTOCK_DATA", help="Data folder.", show_default="~/.local/share/penstock"),
]


@main.application.command("up")
def up(data: Data = None, as_json: main.AsJson = False) -> None:
    """Run everything on this machine until Ctrl-C. Example: penstock up --data ./data."""

    async def work() -> None:
        from penstock.app import configuration
        from penstock.app import up as supervisor

        settings = configuration.load(data_folder=data)
        await supervisor.run(settings, output.document if as_json else output.line, as_json=as_json)

    main.run(work, as_json=as_json)


@main.application.command("run")
def run(roles: Annotated[list[str], typer.Argument(help="inbound, outbound, state; channels, all.")]) -> None:
    """Run roles against PENSTOCK_NATS_URL and PENSTOCK_POSTGRES_URL. Example: penstock run channels state."""

    async def work() -> None:
        import os

        from penstock.app import configuration, process

        await process.run(roles, configuration.load(), os.environ)

    main.run(work, fast=True)


@main.application.command("demo")
def demo(
    conversations: Annotated[int, typer.Option(min=1, max=10_000, help="How many conversations to hold.")] = 60,
    as_json: main.AsJson = False,
) -> None:
    """Hold a conversation through the whole system, in a temporary folder, and count. Example: penstock demo."""

    async def work() -> bool:
        from penstock.app import demo as demonstration

        return await demonstration.run(conversations, as_json=as_json)

    if not main.run(work, as_json=as_json):
        raise typer.Exit(output.FAILED)
