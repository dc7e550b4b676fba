"""`penstock person`: what is known about somebody, from every room; handing it over, and erasing it."""

import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from penstock.cli import output, verb

if TYPE_CHECKING:
    from penstock.app import person as people
    from penstock.state import erasures

T = TypeVar("T")

group = typer.Typer(
    help="People who talk: find one, export what is known, erase it.", no_args_is_help=True, rich_markup_mode=None
)

Account = Annotated[str, typer.Option("--account", "-a", help="The account that they spoke to.", show_default=False)]
Sender = Annotated[str, typer.Option("--sender", "-s", help="Their id there, from 'person find'.", show_default=False)]

EVERY: int = 50_000
"""After how many rows of one place to say how far it is."""


def _with_people(work: "Callable[[people.People], Awaitable[T]]", *, as_json: bool) -> T:
    """Run one verb against the running installation."""

    async def connected() -> T:
        from penstock.app import configuration
        from penstock.app import person as people
        from penstock.base import telemetry

        telemetry.configure_logs(level="error")
        async with people.opened(configuration.load()) as found:
            return await work(found)

    return verb.run(connected, as_json=as_json)


class _Progress:
    """One line for each place that is large, now and then."""

    def __init__(self) -> None:
        self._said = 0

    def __call__(self, place: str, looked: int) -> None:
        if looked < self._said:
            self._said = 0
        if looked - self._said >= EVERY:
            self._said = looked
            output.note(f"{place}: looked through {looked}")


@group.command("find")
def find(
    text: Annotated[str, typer.Argument(help="A part of their id, or of the name they show.", show_default=False)],
    tenant: verb.Tenant,
    account: Annotated[str, typer.Option("--account", "-a", help="Only who spoke to this account.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
    as_json: verb.AsJson = False,
) -> None:
    """Find people by their id or the name they show; the latest first.

    Example: penstock person find ana -t acme
    """
    found = _with_people(lambda all_: all_.look_for(tenant, text, account=account, most=limit), as_json=as_json)
    if as_json:
        output.document(found)
        return
    rows = [(one.account, one.sender, one.display_name, one.last_at) for one in found]
    output.table(["account", "sender", "name", "last said something"], rows, empty="nobody of that name has spoken")


@group.command("export")
def export(
    tenant: verb.Tenant,
    account: Account,
    sender: Sender,
    to: Annotated[Path, typer.Option(help="A new file, or a folder for one.", show_default=False)],
    as_json: verb.AsJson = False,
) -> None:
    """Write all that is known about a person into a file.

    Example: penstock person export -t acme -a acc-... -s U1 --to ana.ndjson
    """

    async def work(all_: "people.People") -> "tuple[Path, people.Report]":
        person = await all_.person(tenant, account, sender)
        file = to / f"{person.pseudonym.replace('erased', 'person')}.ndjson" if to.is_dir() else to
        return file, await all_.export(person, file, tell=_Progress())

    file, report = _with_people(work, as_json=as_json)
    if as_json:
        output.document({"file": str(file), **dataclasses.asdict(report)})
    else:
        _show(report)
        output.line(f"{sum(part.found for part in report.parts)} records in {file}")
    _end(report)


@group.command("erase")
def erase(
    tenant: verb.Tenant,
    account: Account = "",
    sender: Sender = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count only; change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; it cannot be undone.")] = False,
    listed: Annotated[
        Path | None, typer.Option("--listed", help="Everybody in this file, from 'person erased --json'.")
    ] = None,
    as_json: verb.AsJson = False,
) -> None:
    """Erase what a person said, and what was said to them. Without --yes it only counts.

    Example: penstock person erase -t acme -a acc-... -s U1 --yes
    """
    if dry_run and yes:
        raise typer.BadParameter("choose one of --dry-run and --yes", param_hint="--yes")
    if (listed is None) == (not (account and sender)):
        raise typer.BadParameter("name one person with --account and --sender, or --listed FILE", param_hint="--sender")
    if listed is not None and not yes:
        raise typer.BadParameter("needs --yes", param_hint="--listed")
    chosen = None if listed is None else _read(listed)

    async def work(all_: "people.People") -> "list[people.Report]":
        if chosen is not None:
            return await all_.erase_listed(tenant, chosen, tell=_Progress())
        person = await all_.person(tenant, account, sender)
        return [await (all_.erase if yes else all_.count)(person, tell=_Progress())]

    reports = _with_people(work, as_json=as_json)
    if as_json:
        output.document(reports if listed is not None else reports[0])
    for report in [] if as_json else reports:
        _show(report)
        _tell(report, done=yes)
    for report in reports:
        _end(report)


@group.command("erased")
def erased(tenant: verb.Tenant, as_json: verb.AsJson = False) -> None:
    """List who was erased, by pseudonym. Keep a copy apart from the backups.

    Example: penstock person erased -t acme --json
    """
    found = _with_people(lambda all_: all_.listed(tenant), as_json=as_json)
    if as_json:
        output.document(found)
        return
    rows = [(one.person, one.account, one.until, one.finished_at) for one in found]
    output.table(["person", "account", "until", "finished"], rows, empty="nobody was erased yet")


def _read(path: Path) -> "list[erasures.Erasure]":
    """A list as `erased --json` prints it."""
    import json

    from penstock.state import erasures

    try:
        return erasures.listed(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError):
        raise typer.BadParameter("is no list of erasures", param_hint="--listed") from None


def _show(report: "people.Report") -> None:
    rows = [(part.place, part.found, part.erased, part.state, part.detail) for part in report.parts]
    output.table(["place", "found", "erased", "state", "why"], rows, empty="")


def _tell(report: "people.Report", *, done: bool) -> None:
    if not done:
        output.line("Nothing was changed. Erase with --yes.")
    elif report.complete:
        output.line(f"Erased: {report.person}. Backups hold it until they expire; apps keep what they keep.")
    else:
        output.line("Not all of it: run it again once that is there.")


def _end(report: "people.Report") -> None:
    """What is not complete is to be tried again."""
    if not report.complete:
        raise typer.Exit(output.RETRY)
