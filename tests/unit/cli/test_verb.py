"""Every verb ends with an exit code and one sentence, never with a traceback."""

import asyncio
import os
import signal

import pytest
import typer

from penstock.base import errors
from penstock.cli import verb


def ended(work, **how):
    with pytest.raises(typer.Exit) as exited:
        verb.run(work, **how)
    return exited.value.exit_code


def test_what_the_work_returns_is_returned():
    async def work():
        return 7

    assert verb.run(work) == verb.run(work, fast=True) == 7


@pytest.mark.parametrize(
    ("error", "code"),
    [(errors.Rejected("x", "no", status=404), 4), (errors.Unavailable("x", "no"), 75), (errors.Broken("x", "no"), 1)],
)
def test_an_error_becomes_its_exit_code(error, code, capsys):
    async def work():
        raise error

    assert ended(work) == code
    assert capsys.readouterr().err == "penstock: no.\n"


@pytest.mark.parametrize("as_json", [False, True])
def test_a_bug_is_one_line_that_says_what_to_do(as_json, capsys):
    async def work():
        raise KeyError("some\nthing")

    assert ended(work, as_json=as_json) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "KeyError" in err
    assert "PENSTOCK_DEBUG" in err
    assert "Traceback" not in err


def test_who_asks_gets_the_traceback(monkeypatch):
    async def work():
        raise KeyError("something")

    monkeypatch.setenv("PENSTOCK_DEBUG", "1")
    with pytest.raises(KeyError):
        verb.run(work)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_a_signal_ends_the_work_after_it_cleaned_up(number, code):
    cleaned = []

    async def work():
        try:
            os.kill(os.getpid(), number)
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    assert ended(work) == code
    assert cleaned == [True]
