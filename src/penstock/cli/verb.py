"""What every verb does alike: run on an event loop, reach the installation, turn errors into exit codes, print."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from penstock.base import errors
from penstock.cli import output

if TYPE_CHECKING:
    from penstock.app import house as houses

T = TypeVar("T")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Tenant = Annotated[str, typer.Option("--tenant", "-t", envvar="PENSTOCK_TENANT", help="The tenant's slug.")]
Data = Annotated[
    Path | None,
    typer.Option("--data", envvar="PENSTOCK_DATA", help="Data folder.", show_default="the user's data home"),
]


def run(work: Callable[[], Coroutine[Any, Any, T]], *, as_json: bool = False, fast: bool = False) -> T:
    """Run one verb on an event loop, uvloop's when it shall be `fast`.

    A PenstockError becomes one line and its exit code, Ctrl-C exit code 130, SIGTERM and SIGHUP 143: after cleaning
    up.
    """
    try:
        with asyncio.Runner(loop_factory=_uvloop if fast else None) as runner:
            return runner.run(_until_terminated(work))
    except errors.PenstockError as error:
        raise typer.Exit(output.fail(error, as_json=as_json)) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except asyncio.CancelledError:
        raise typer.Exit(143) from None
    except (typer.Exit, typer.BadParameter):
        raise
    except Exception as error:
        if "PENSTOCK_DEBUG" in os.environ:
            raise
        hint = "Run it again with PENSTOCK_DEBUG=1 for the details, and report it."
        broken = errors.Broken("broken", f"an error of ours: {type(error).__name__}: {error}", hint=hint)
        raise typer.Exit(output.fail(broken, as_json=as_json)) from None


async def _until_terminated(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The work, cancelled by an ending signal unless it listens for that itself: what it started is then stopped."""
    from penstock.base import tasks

    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    heard: list[signal.Signals] = []

    def stop(number: signal.Signals) -> None:
        heard.append(number)
        if task is not None:
            task.cancel()

    for number in tasks.ending_signals():
        loop.add_signal_handler(number, stop, number)
    try:
        return await work()
    except asyncio.CancelledError:
        if not heard:
            raise
        raise typer.Exit(130 if heard[0] is signal.SIGINT else 143) from None


def _uvloop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


def operate(work: Callable[["houses.House"], Awaitable[T]], show: Callable[[T], None], *, as_json: bool) -> None:
    """Run one verb against the running installation, then print its result: `show` for people, JSON for programs."""

    async def connected() -> T:
        from penstock.app import configuration, house

        async with house.of_running_installation(configuration.load()) as joined:
            return await work(joined)

    result = run(connected, as_json=as_json)
    if as_json:
        output.document(result)
    else:
        show(result)
