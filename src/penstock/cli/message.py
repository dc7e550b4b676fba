"""`penstock message`: listen to a tenant's conversations as they happen, and say something in one."""

import asyncio
import contextlib
import os
import queue
import sys
import threading
from typing import TYPE_CHECKING, Annotated, Final

import typer

from penstock.base import errors
from penstock.cli import output, verb

if TYPE_CHECKING:
    from penstock.app import messages

group = typer.Typer(
    help="Messages: listen to conversations, and say something in one.", no_args_is_help=True, rich_markup_mode=None
)

WAITING: Final = 1000
"""Lines that wait for a slow terminal; what comes after them is dropped, and counted."""
LAST_LINES_S: Final = 2.0
STUCK: Final = 130
"""Exit code where the terminal did not even take the last lines: as after Ctrl-C, which is how one gets there."""
WITHIN_S: Final = 30.0

Account = Annotated[str, typer.Option("--account", "-a", help="The account's id.")]
Conversation = Annotated[str, typer.Option("--conversation", "-c", help="The platform's id of the conversation.")]


@group.command("tail")
def tail(
    tenant: verb.Tenant,
    account: Account = "",
    channel: Annotated[str, typer.Option(help="Only this channel.")] = "",
    conversation: Conversation = "",
    direction: Annotated[str, typer.Option("--direction", "-d", help="Only in, out, or receipts.")] = "",
    grep: Annotated[str, typer.Option("--grep", "-g", help="Only with this text, in any case.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="End after so many; 0: never.")] = 0,
    seconds: Annotated[float, typer.Option("--for", min=0, help="End after so many seconds; 0: never.")] = 0,
    as_json: verb.AsJson = False,
) -> None:
    """Show what is said from now on, until Ctrl-C.

    Example: penstock message tail -t acme --direction in
    """

    async def work() -> None:
        from penstock.app import configuration, house, messages, streams
        from penstock.base import telemetry

        telemetry.configure_logs(level="error")
        found = configuration.load()
        chosen = messages.Chosen(tenant, channel, account, conversation, direction, grep)
        chosen.patterns()
        async with house.of_running_installation(found) as joined, streams.connected(found) as spine:
            await joined.tenancy.get(tenant)
            printer = _Printer(asyncio.get_running_loop(), limit, as_json=as_json)
            try:
                async with messages.listening(spine, chosen, printer.offer):
                    output.note(f"Listening to {tenant}; Ctrl-C ends.")
                    await printer.until_over(seconds)
            finally:
                printer.close()

    verb.run(work, as_json=as_json)


class _Printer:
    """Prints in a thread of its own, so that a terminal that stands still holds up nothing, not even Ctrl-C."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int, *, as_json: bool) -> None:
        self._loop, self._left, self._as_json = loop, limit or sys.maxsize, as_json
        self._lines: queue.Queue[messages.Heard | None] = queue.Queue(WAITING)
        self._over, self._dropped, self._gone = asyncio.Event(), 0, False
        self._thread = threading.Thread(target=self._print_all, name="printer", daemon=True)
        self._thread.start()

    def offer(self, heard: "messages.Heard") -> None:
        """Print it, or count it as dropped."""
        if self._left <= 0:
            return
        try:
            self._lines.put_nowait(heard)
        except queue.Full:
            self._dropped += 1
            return
        self._left -= 1
        if not self._left:
            self._over.set()

    async def until_over(self, seconds: float) -> None:
        """Wait for the last line that is wanted, the end of the time, or of the reader."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds or None):
                await self._over.wait()

    def _print_all(self) -> None:
        try:
            while (heard := self._lines.get()) is not None:
                if self._as_json:
                    output.document(heard)
                else:
                    output.line(_line(heard))
        except (OSError, ValueError):  # whoever read has left
            self._gone = True
            self._loop.call_soon_threadsafe(self._over.set)

    def close(self) -> None:
        """Print what waits, if the terminal takes it within `LAST_LINES_S`, and say what was dropped."""
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=LAST_LINES_S)
        self._thread.join(LAST_LINES_S)
        if self._dropped:
            output.note(f"{self._dropped} messages were dropped: the terminal was too slow.")
        if self._gone:
            # What is flushed at the end has nobody to read it, which is no error.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        elif self._thread.is_alive():
            os._exit(STUCK)  # the terminal takes nothing: Python would wait for it, or abort


def _line(heard: "messages.Heard") -> str:
    place = f"{heard.at:%H:%M:%S} {heard.direction:8} {heard.channel}/{heard.account} {heard.conversation}"
    if heard.direction == "receipts":
        why = f" {heard.code}: {heard.detail}" if heard.code else ""
        return f"{place}  {heard.kind} {heard.id}{why}"
    kind = "" if heard.kind in {"message", "reply"} else f" ({heard.kind})"
    return f"{place}  {heard.who}{kind}> {' / '.join(heard.text.splitlines())}"


@group.command("send")
def send(
    text: Annotated[str, typer.Argument(help="What to say.", show_default=False)],
    tenant: verb.Tenant,
    account: Account,
    conversation: Conversation,
    reply_to: Annotated[str, typer.Option(help="The platform's id of the message that it answers.")] = "",
    id: Annotated[str, typer.Option("--id", help="Said once under one id, however often it is asked for.")] = "",
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait until the platform has it.")] = False,
    within: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds to wait at most.")] = WITHIN_S,
    as_json: verb.AsJson = False,
) -> None:
    """Say something in a conversation.

    Example: penstock message send "We are back" -t acme -a ACC -c ROOM
    """

    async def work() -> "messages.Said":
        from penstock.app import configuration, house, messages, streams
        from penstock.base import telemetry

        telemetry.configure_logs(level="error")
        found, words = configuration.load(), messages.Words(account, conversation, _told(text), reply_to, id)
        async with house.of_running_installation(found) as joined, streams.connected(found) as spine:
            return await messages.Speaker(joined, spine).send(tenant, words, wait_s=within if wait else 0.0)

    said = verb.run(work, as_json=as_json)
    if as_json:
        output.document(said)
    else:
        again = ", again" if said.duplicate else ""
        why = f": {said.detail} ({said.code})" if said.code else ""
        output.line(f"{said.command_id} {said.state}{again}{why}")
    code = {"accepted": output.OK, "sent": output.OK, "running": output.RUNNING}.get(said.state, output.FAILED)
    if code:
        raise typer.Exit(code)


def _told(text: str) -> str:
    """What the shell gave, if it is text. Raises Rejected `bad_text`."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise errors.Rejected("bad_text", "text must be UTF-8", field="text") from None
    if not text or "\0" in text:
        raise errors.Rejected("bad_text", "text must not be empty", field="text")
    return text
