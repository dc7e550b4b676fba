"""`penstock chat`: talk to one's own app from the shell."""

import asyncio
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli import output, verb

if TYPE_CHECKING:
    from penstock.app import chat as chats


def chat(
    app: Annotated[Path | None, typer.Argument(help="The app's file; without one, whatever app already runs.")] = None,
    tenant: Annotated[str, typer.Option("--tenant", "-t", envvar="PENSTOCK_TENANT", help="As whose app.")] = "home",
    data: verb.Data = None,
    as_json: verb.AsJson = False,
) -> None:
    """Talk to an app through the whole system; Ctrl-D ends.

    Example: penstock chat examples/echo/app.py
    """

    async def work() -> None:
        from penstock.app import chat as chats
        from penstock.app import configuration

        async with chats.opened(configuration.load(data_folder=data), tenant, app, output.note) as terminal:
            if sys.stdin.isatty():
                output.note("Write something; Ctrl-D ends the conversation.")
            await _converse(terminal, as_json=as_json)

    verb.run(work, as_json=as_json)


async def _converse(terminal: "chats.Terminal", *, as_json: bool) -> None:
    """Lines in, replies out; after the last line, wait for what is still to be said.

    A reaction is an answer too, but most often words follow it, so it alone ends no waiting.
    """
    from penstock.app import chat as chats

    said, heard, reacted, last = 0, 0, 0, asyncio.Event()

    async def listen() -> None:
        nonlocal heard, reacted
        async for reply in terminal.replies():
            if reply.kind.startswith("reaction"):
                reacted += 1
            else:
                heard += 1
            if as_json:
                output.document(reply)
            else:
                for line in _shown(reply).split("\n"):
                    output.line(line)
            last.set()

    listening = asyncio.create_task(listen())
    try:
        lines = _lines()
        while (line := await lines.get()) is not None:
            if line.strip():
                said += 1
                await terminal.say(line.rstrip("\n"))
        while heard < said:
            last.clear()
            async with asyncio.timeout(chats.QUIET_S):
                await last.wait()
    except TimeoutError:
        if heard + reacted < said:
            output.note(f"{said - heard} of {said} messages had no reply within {chats.QUIET_S:g} s.")
            raise typer.Exit(output.FAILED) from None
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


def _shown(reply: "chats.Reply") -> str:
    return f"{reply.app}{'' if reply.kind in {'message', 'reply'} else f' ({reply.kind})'}> {reply.text}"


def _lines() -> "asyncio.Queue[str | None]":
    """Lines of standard input, then None. A thread reads, which the end of the process does not wait for."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[str | None] = asyncio.Queue()

    def put(line: str | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(queue.put_nowait, line)

    def read() -> None:
        for line in sys.stdin:
            put(line)
        put(None)

    threading.Thread(target=read, name="standard input", daemon=True).start()
    return queue
