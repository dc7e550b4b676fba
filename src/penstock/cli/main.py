"""The tree of verbs: every module's verbs, hung where a user looks for them."""

import sys
from typing import Annotated

import typer

import penstock
from penstock.cli import account, chat, doctor, output, quarantine, running, tenant

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
for name, group in (("tenant", tenant.group), ("account", account.group), ("quarantine", quarantine.group)):
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
    try:
        application(prog_name="penstock")
    except BrokenPipeError:
        # The reader of a pipe left (`| head`): nothing is wrong, and there is nobody left to tell.
        sys.stderr.close()
        sys.exit(output.OK)
