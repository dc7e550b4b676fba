"""`penstock stream`: what streams and durables are, how they differ from what is asked, and changing them."""

import datetime
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from penstock.cli import output, verb

if TYPE_CHECKING:
    from penstock.app import stream_views, streams
    from penstock.spine import plan

T = TypeVar("T")

group = typer.Typer(
    help="Streams and durable consumers: look, compare, change.", no_args_is_help=True, rich_markup_mode=None
)


@group.command("ls")
def ls(
    every_stream: Annotated[bool, typer.Option("--all", help="Every stream of the server, buckets too.")] = False,
    durables: Annotated[bool, typer.Option("--durables", help="Every durable of consumers in ranges.")] = False,
    as_json: verb.AsJson = False,
) -> None:
    """List streams and their consumers as they are.

    Example: penstock stream ls
    """
    found = _operate(lambda streams: streams.list(every_stream=every_stream, every_durable=durables), as_json=as_json)
    if as_json:
        output.document(found)
    else:
        _show_streams(found)


def _show_streams(found: "list[stream_views.StreamView]") -> None:
    output.table(_STREAM_COLUMNS, [_stream_row(view) for view in found], empty="no stream is there yet")
    readers = [
        (each.consumer, view.name, len(each.durables), each.floor, each.waiting, each.held)
        for view in found
        for each in view.consumers
    ]
    if readers:
        output.line()
        output.table(["consumer", "stream", "durables", "floor", "waiting", "held"], readers, empty="")
    lost = [
        (loss.stream, loss.room, loss.why, loss.noticed_at, loss.refilled, loss.finished_at)
        for view in found
        for loss in view.lost or ()
    ]
    if lost:
        output.line()
        output.table(["stream lost", "publisher", "why", "noticed", "sent again", "finished"], lost, empty="")


_STREAM_COLUMNS = ["stream", "messages", "size", "first", "last", "oldest", "copies", "leader"]


def _stream_row(view: "stream_views.StreamView") -> tuple[object, ...]:
    copies = f"{view.copies} of {view.replicas}" + (f" ({view.moving})" if view.moving else "")
    leader = view.leader + "".join(f" {peer.name}{'' if peer.current else ' (behind)'}" for peer in view.peers)
    size = f"{_size(view.size_bytes)} of {_size(view.max_bytes) if view.max_bytes > 0 else 'any'}"
    return (view.name, view.messages, size, view.first, view.last, _age(view.oldest), copies, leader)


@group.command("diff")
def diff(as_json: verb.AsJson = False) -> None:
    """Compare with what is asked; exit code 1 when something differs.

    Example: penstock stream diff
    """
    found = _operate(lambda streams: streams.differences(), as_json=as_json)
    if as_json:
        output.document(found)
    else:
        _show(found.steps, empty="all is as asked")
        for name in found.strangers:
            output.line(f"{name}: nothing of this build asks for it; delete it once it is drained")
    if found.steps:
        raise typer.Exit(output.FAILED)


@group.command("apply")
def apply(
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this, only show it.")] = False,
    allow_loss: Annotated[bool, typer.Option("--allow-loss", help="Also what drops messages.")] = False,
    as_json: verb.AsJson = False,
) -> None:
    """Make streams and durables what is asked; deletes none.

    Example: penstock stream apply --yes
    """

    def tell(text: str) -> None:
        if not as_json:
            output.note(text)

    done = _operate(lambda streams: streams.apply(dry_run=not yes, allow_loss=allow_loss, tell=tell), as_json=as_json)
    if as_json:
        output.document(done)
    else:
        _tell(done)
    if done.left:
        raise typer.Exit(output.FAILED)


def _tell(done: "streams.Outcome") -> None:
    _show((*done.done, *done.left), empty="all is as asked")
    if done.dry_run and done.done:
        output.line("Nothing was changed. Do it with: penstock stream apply --yes")
    elif done.done:
        output.line(f"{len(done.done)} done")
    if done.left:
        loses = any(step.verdict == "loses" for step in done.left)
        output.line(f"{len(done.left)} left as they are" + ("; --allow-loss does what drops messages" if loses else ""))


def _show(steps: "tuple[plan.Step, ...]", *, empty: str) -> None:
    rows = [
        (step.name, step.field, _short(step.found), _short(step.wanted), step.verdict.value, step.why) for step in steps
    ]
    output.table(["what", "field", "is", "asked", "can", "note"], rows, empty=empty)


def _short(value: str) -> str:
    """Many patterns as the first of them and their number."""
    words = value.split()
    return value if len(words) < 3 else f"{words[0]} ... ({len(words)} patterns)"


def _operate(work: "Callable[[streams.Streams], Awaitable[T]]", *, as_json: bool) -> T:
    """Run one verb against the NATS server that the settings name, or that of the running installation."""

    async def connected() -> T:
        from penstock.app import configuration, streams
        from penstock.base import telemetry

        telemetry.configure_logs(level="error")
        async with streams.opened(configuration.load()) as found:
            return await work(found)

    return verb.run(connected, as_json=as_json)


def _size(size_bytes: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size_bytes < 1024:
            return f"{size_bytes:.4g} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.4g} GiB"


def _age(since: datetime.datetime | None) -> str:
    if since is None:
        return ""
    age_s = max(0, int((datetime.datetime.now(datetime.UTC) - since).total_seconds()))
    for unit_s, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if age_s >= 2 * unit_s:
            return f"{age_s // unit_s} {unit}"
    return f"{age_s} s"
