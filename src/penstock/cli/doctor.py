"""`penstock doctor`: what is here, what is missing, what would run, and which parts of an installation are there."""

import asyncio
from typing import TYPE_CHECKING

import typer

from penstock.base import errors
from penstock.cli import output, verb

if TYPE_CHECKING:
    from penstock.servers import doctor as doctors

_SIGNS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


def doctor(data: verb.Data = None, as_json: verb.AsJson = False) -> None:
    """Say what would run on this machine, and which parts are there.

    Example: penstock doctor
    """

    async def work() -> "list[doctors.Check]":
        from penstock.app import configuration, presence
        from penstock.base import telemetry
        from penstock.servers import doctor as checks

        telemetry.configure_logs(level="error")
        found = configuration.load(data_folder=data)
        return [*await checks.examine(found.servers), *await presence.examine(found)]

    try:
        found = asyncio.run(work())
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
