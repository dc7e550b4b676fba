"""`penstock doctor`: what is here, what is missing, what would run."""

import asyncio

import typer

from penstock.base import errors
from penstock.cli import output, verb

_SIGNS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


def doctor(data: verb.Data = None, as_json: verb.AsJson = False) -> None:
    """Look at this machine and say what would run.

    Example: penstock doctor
    """
    from penstock.app import configuration
    from penstock.servers import doctor as checks

    try:
        found = asyncio.run(checks.examine(configuration.load(data_folder=data).servers))
    except errors.PenstockError as error:
        raise typer.Exit(output.fail(error, as_json=as_json)) from None
    if as_json:
        output.document(found)
    else:
        for check in found:
            output.line(f"{_SIGNS[check.status]}  {check.name}: {check.found}")
            if check.remedy:
                output.line(f"      {check.remedy}")
    if any(check.status == "fail" for check in found):
        raise typer.Exit(output.FAILED)
