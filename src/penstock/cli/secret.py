"""`penstock secret`: the keys that seal what is stored; `penstock account secret` is about what they seal."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.base import errors
from penstock.cli import output, verb

if TYPE_CHECKING:
    from penstock.sealing import rekey as rekeying

group = typer.Typer(
    help="Sealing keys: which there are, and how they are replaced.", no_args_is_help=True, rich_markup_mode=None
)


@group.command("status")
def status(as_json: verb.AsJson = False) -> None:
    """Say what is sealed under which key, and which key may go.

    Example: penstock secret status
    """

    async def work() -> "rekeying.Status":
        from penstock.app import configuration, secrets
        from penstock.base import telemetry

        telemetry.configure_logs(level="error")
        async with secrets.rekeying(configuration.load()) as rekeyer:
            return await rekeyer.status()

    found = verb.run(work, as_json=as_json)
    if as_json:
        output.document(found)
        return
    rows = [
        [use.id, _state(use.id, found), use.data_keys, use.first_used_at, "yes" if use.id in found.held else "no"]
        for use in found.keys
    ]
    output.table(["key", "state", "data keys", "first used", "here"], rows, empty="nothing was ever sealed here")
    if found.run_open:
        output.line("A replacement was begun and not finished: 'penstock secret rekey' goes on with it.")
    for id in found.missing:
        output.line(f"Key {id} is missing here: what it wraps cannot be opened.")


def _state(id: str, found: "rekeying.Status") -> str:
    if id == found.current:
        return "current"
    return "may be thrown away" if id in found.disposable else "in use"


@group.command("rekey")
def rekey(
    data_keys: Annotated[
        bool, typer.Option("--data-keys", help="Make new data keys too, and seal every value anew.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would be done, and change nothing.")] = False,
    as_json: verb.AsJson = False,
) -> None:
    """Wrap everything under the current key, while all runs.

    Example: penstock secret rekey --dry-run
    """

    async def work() -> "rekeying.Report":
        from penstock.app import configuration, secrets
        from penstock.base import telemetry

        telemetry.configure_logs(level="error")
        shown = [0]

        def told(report: "rekeying.Report") -> None:
            done = report.wrapped + report.renewed + report.resealed
            if done // 100 > shown[0]:
                shown[0] = done // 100
                output.note(f"{report.wrapped} wrapped, {report.renewed} renewed, {report.resealed} sealed anew ...")

        async with secrets.rekeying(configuration.load(), told=told) as rekeyer:
            return await (rekeyer.plan(data_keys=data_keys) if dry_run else rekeyer.run(data_keys=data_keys))

    report = verb.run(work, as_json=as_json)
    if as_json:
        output.document(report)
    else:
        _show(report)
    if report.broken:
        raise typer.Exit(output.FAILED)


def _show(report: "rekeying.Report") -> None:
    rows = [
        ("data keys wrapped under " + report.kek_id, report.wrapped),
        ("new data keys", report.renewed),
        ("values sealed anew", report.resealed),
        ("replaced data keys deleted", report.discarded),
        ("replaced data keys kept", report.kept),
    ]
    output.table(["would be" if report.dry_run else "what", "count"], rows, empty="")
    for id in report.emptied:
        output.line(f"Nothing is sealed under key {id} any more. Keep it for as long as you keep older backups.")
    for name in report.broken:
        output.line(f"does not open: {name}")


@group.command("new-key")
def new_key(
    file: Annotated[Path, typer.Argument(help="Where to write it; nobody else will be able to read it.")],
    as_json: verb.AsJson = False,
) -> None:
    """Make a file with a fresh key, and use it for nothing yet.

    Example: penstock secret new-key ~/.config/penstock/key-next
    """
    from penstock.app import configuration, secrets

    try:
        secrets.new_key_file(configuration.load(), file)
    except errors.PenstockError as error:
        raise typer.Exit(output.fail(error, as_json=as_json)) from None
    if as_json:
        output.document({"file": str(file)})
    else:
        output.line(f"Made a key: {file}. Next: sealing.key_file names it, sealing.old_key_file the one in use.")
