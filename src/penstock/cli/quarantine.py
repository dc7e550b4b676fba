"""`penstock quarantine`: what no handler could take, whole, and how to send it again."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli import output, verb

if TYPE_CHECKING:
    from penstock.app import house as houses
    from penstock.state import quarantine as rows

group = typer.Typer(
    help="What no handler could take: look at it, and send it again.", no_args_is_help=True, rich_markup_mode=None
)

Consumer = Annotated[str, typer.Option(help="Only what this durable consumer gave up.")]
Code = Annotated[str, typer.Option(help="Only what was given up for this code.")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")]


@group.command("ls")
def ls(
    tenant: verb.Tenant, consumer: Consumer = "", code: Code = "", limit: Limit = 50, as_json: verb.AsJson = False
) -> None:
    """List quarantined messages, newest first.

    Example: penstock quarantine ls -t acme --consumer outbound
    """
    columns = ["id", "consumer", "reason", "code", "attempts", "at", "redriven"]

    async def work(house: "houses.House") -> list[dict[str, Any]]:
        from penstock.state import quarantine as rows

        chosen = rows.Filter(consumer=consumer, code=code)
        return [_summary(row) for row in await house.quarantine.list(tenant, chosen, limit=limit)]

    def show(found: list[dict[str, Any]]) -> None:
        lines = [[row["redriven_at" if name == "redriven" else name] for name in columns] for row in found]
        output.table(columns, lines, empty="nothing is in quarantine")

    verb.operate(work, show, as_json=as_json)


@group.command("show")
def show(
    id: Annotated[str, typer.Argument(help="The message's id, from 'quarantine ls'.", show_default=False)],
    tenant: verb.Tenant,
    as_json: verb.AsJson = False,
) -> None:
    """Show one message whole: headers, body, why.

    Example: penstock quarantine show ID -t acme
    """

    async def work(house: "houses.House") -> dict[str, Any]:
        row = await house.quarantine.show(tenant, id)
        return {**_summary(row), "headers": dict(row.headers), "body": _readable(row)}

    def print_all(found: dict[str, Any]) -> None:
        for name, value in found.items():
            output.line(f"{name:14} {output.cell(value)}")

    verb.operate(work, print_all, as_json=as_json)


@group.command("redrive")
def redrive(
    tenant: verb.Tenant,
    id: Annotated[str, typer.Argument(help="The message's id; without one, all that the options choose.")] = "",
    consumer: Consumer = "",
    code: Code = "",
    everything: Annotated[bool, typer.Option("--all", help="All that were not redriven yet.")] = False,
    body: Annotated[Path | None, typer.Option(help="A file with another body for this one message.")] = None,
    as_json: verb.AsJson = False,
) -> None:
    """Send messages again, to the consumer that gave up.

    Example: penstock quarantine redrive ID -t acme
    """
    if bool(id) == bool(everything or consumer or code):
        raise typer.BadParameter("name one ID, or choose with --all, --consumer or --code", param_hint="ID")
    if body is not None and (not id or not body.is_file()):
        raise typer.BadParameter("needs one ID and a file that is there", param_hint="--body")
    content = None if body is None else body.read_bytes()

    async def work(house: "houses.House") -> dict[str, Any]:
        from penstock.state import quarantine as rows

        if id:
            return {"redriven": 1, "message_id": await house.quarantine.redrive(tenant, id, rows.Edit(body=content))}
        chosen = rows.Filter(consumer=consumer, code=code, redriven=False)
        return {"redriven": await house.quarantine.redrive_many(tenant, chosen)}

    verb.operate(work, lambda done: output.line(f"{done['redriven']} sent again"), as_json=as_json)


def _summary(row: "rows.Quarantined") -> dict[str, Any]:
    return {f.name: getattr(row, f.name) for f in dataclasses.fields(row) if f.name not in {"headers", "body"}}


def _readable(row: "rows.Quarantined") -> Any:
    """The body as the JSON of its type where that is known, else as base64."""
    import base64

    from google.protobuf import json_format
    from google.protobuf.message import DecodeError

    from penstock.base import context
    from penstock.spine import route

    declared = row.headers.get(context.MESSAGE_TYPE, "")
    for known in route.ROUTES:
        if known.message_type.DESCRIPTOR.full_name == declared:
            try:
                return json_format.MessageToDict(
                    known.message_type.FromString(row.body), preserving_proto_field_name=True
                )
            except DecodeError:
                break
    return {"base64": base64.b64encode(row.body).decode("ascii")}
