"""`penstock account unknown`: events of kinds that nobody here knows, kept as they came."""

import base64
import codecs
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli import output, verb

if TYPE_CHECKING:
    from penstock.app import house as houses
    from penstock.channels.service import unknown

group = typer.Typer(help="Events of kinds that nobody here knows.", no_args_is_help=True, rich_markup_mode=None)

Id = Annotated[str, typer.Argument(help="The account's id.", show_default=False)]
Event = Annotated[str, typer.Argument(help="The event's id, from 'account unknown ls'.", show_default=False)]
Account = Annotated[str, typer.Option("--account", help="Of this account only.", show_default="all")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")]


@group.command("ls")
def ls(tenant: verb.Tenant, account: Account = "", limit: Limit = 50, as_json: verb.AsJson = False) -> None:
    """List the latest, newest first, without what is in them.

    Example: penstock account unknown ls -t acme
    """

    async def work(house: "houses.House") -> "Sequence[unknown.Listed]":
        return await house.channels.unknown.list(tenant, account=account, limit=limit)

    def show(found: "Sequence[unknown.Listed]") -> None:
        rows = [(one.account, one.event_id, one.kind, one.size_bytes, one.received_at) for one in found]
        output.table(["account", "event", "kind", "bytes", "received"], rows, empty="no event of an unknown kind came")

    verb.operate(work, show, as_json=as_json)


@group.command("show")
def show_one(id: Id, event_id: Event, tenant: verb.Tenant, as_json: verb.AsJson = False) -> None:
    """Show one as it came; it may hold what people said.

    Example: penstock account unknown show ACC EVENT -t acme
    """

    async def work(house: "houses.House") -> dict[str, object]:
        found = await house.channels.unknown.show(tenant, id, event_id)
        return {
            "account": id,
            "event_id": found.event_id,
            "kind": found.kind,
            "received_at": found.received_at,
            "size_bytes": found.size_bytes,
            "whole": found.whole,
            **_body(found.body, whole=found.whole),
        }

    def show(found: dict[str, object]) -> None:
        for name, value in found.items():
            if name != "body":
                output.line(f"{name:12} {value}")
        output.line(str(found.get("body", "")))

    verb.operate(work, show, as_json=as_json)


def _body(raw: bytes, *, whole: bool) -> dict[str, object]:
    """The bytes as text where they are text, else as base64; the cut may have gone through a character."""
    try:
        return {"body": codecs.getincrementaldecoder("utf-8")().decode(raw, final=whole)}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(raw).decode()}
