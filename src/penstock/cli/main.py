"""The tree of verbs: every module's verbs, hung where a user looks for them."""

import io
import sys
from typing import Annotated, cast

import typer

import penstock
from penstock.base import errors
from penstock.cli import (
    account,
    chat,
    database,
    doctor,
    message,
    nats,
    outbox,
    output,
    person,
    quarantine,
    running,
    secret,
    stream,
    tenant,
)

application = typer.Typer(
    name="penstock",
    help="The self-hosted backend for assistants that live in chat.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="Start with 'penstock up', then 'penstock chat' in another terminal. "
    "Exit codes: 0 ok, 1 failed, 2 usage, 3 forbidden, 4 not found, 5 conflict, 75 try again.",
)
for name, verb in (
    ("up", running.up),
    ("run", running.run),
    ("chat", chat.chat),
    ("doctor", doctor.doctor),
    ("demo", running.demo),
):
    application.command(name)(verb)
for name, group in (
    ("tenant", tenant.group),
    ("account", account.group),
    ("message", message.group),
    ("quarantine", quarantine.group),
    ("outbox", outbox.group),
    ("person", person.group),
    ("stream", stream.group),
    ("database", database.group),
    ("nats", nats.group),
    ("secret", secret.group),
):
    application.add_typer(group, name=name)


def _version(wanted: bool) -> None:
    if wanted:
        output.line(penstock.__version__)
        raise typer.Exit


@application.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """The self-hosted backend for assistants that live in chat."""


def main() -> None:
    """Entry point of the command."""
    # A character that the terminal's encoding lacks is shown as another, rather than ending the command.
    cast("io.TextIOWrapper", sys.stdout).reconfigure(errors="replace")
    if "--json" not in sys.argv:
        application(prog_name="penstock")
    try:
        sys.exit(application(prog_name="penstock", standalone_mode=False))
    except typer.TyperException as error:
        misused = errors.Rejected("usage", error.format_message(), hint="--help says what is possible.")
        sys.exit(output.fail(misused, as_json=True))
