"""Listening on a terminal that takes lines slowly: what it cannot take is dropped, counted, and said."""

import asyncio
import contextlib
import datetime
import json
import os
import threading

import pytest

from penstock.app import messages
from penstock.cli import message

OFFERED = message.WAITING + 300
LINE = 1_000


class Terminal:
    """A pipe in place of standard output; `read` begins to read it, `hung_up` gives the lines once it is closed."""

    def __init__(self, reading: int, writing: int) -> None:
        self._found, self.stdout = os.fdopen(reading, encoding="utf-8"), os.fdopen(writing, "w", encoding="utf-8")
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read_all, daemon=True)

    def read(self) -> None:
        self._reader.start()

    def _read_all(self) -> None:
        with self._found:
            self._lines.extend(self._found)

    def hung_up(self) -> list[str]:
        self.stdout.close()
        self._reader.join(60)
        return self._lines


@pytest.fixture
def terminal(monkeypatch):
    """Nobody reads it yet. What waits is printed however long that takes here, before the process would be ended."""
    monkeypatch.setattr(message, "LAST_LINES_S", 60.0)
    return Terminal(*os.pipe())


def heard(text: str) -> messages.Heard:
    at = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    return messages.Heard("in", at, "webhook", "acc-1", "room", "ann", "message", text, "e", "", "", "")


async def test_what_a_slow_terminal_cannot_take_is_dropped_and_how_much_is_said(terminal, capsys):
    """A pipe holds 64 KiB, so nearly all of the lines wait; those that do not fit beside them are gone."""
    with contextlib.redirect_stdout(terminal.stdout):
        printer = message._Printer(asyncio.get_running_loop(), 0, as_json=False)
        for number in range(OFFERED):
            printer.offer(heard(f"{number} {'x' * LINE}"))
        terminal.read()
        await asyncio.to_thread(printer.close)
    lines = terminal.hung_up()
    numbers = [int(line.partition("ann> ")[2].split(" ", 1)[0]) for line in lines]
    dropped = OFFERED - len(numbers)
    assert numbers[: message.WAITING] == list(range(message.WAITING)), "the first ones are all there"
    assert numbers == sorted(set(numbers)), "and whatever found a place later is in order"
    assert message.WAITING <= len(numbers) < OFFERED
    assert capsys.readouterr().err == f"{dropped} messages were dropped: the terminal was too slow.\n"


async def test_a_terminal_that_keeps_up_loses_nothing_and_hears_nothing_of_it(terminal, capsys):
    with contextlib.redirect_stdout(terminal.stdout):
        printer = message._Printer(asyncio.get_running_loop(), 3, as_json=True)
        for number in range(5):
            printer.offer(heard(str(number)))
        terminal.read()
        await printer.until_over(60)
        await asyncio.to_thread(printer.close)
    assert [json.loads(line)["text"] for line in terminal.hung_up()] == ["0", "1", "2"]
    assert capsys.readouterr().err == ""
