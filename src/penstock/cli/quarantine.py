"""`penstock quarantine`: what no handler could take, whole, and how to send it again."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli import main, output

if TYPE_CHECKING:
    from penstock.app import house as houses

quarantine = typer.Typer(
    help="What no handler could take: look at it, and send it again.", no_args_is_help=True, rich_markup_mode=None
)
main.application.add_typer(quarantine, name="quarantine")


@quarantine.command("ls")
def ls(
    tenant: main.Tenant,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, newest first.")] = 50,
    as_json: main.AsJson = False,
) -> None:
    """List quarantined messages. Example: penstock quarantine ls -t acme."""
    columns = ["id", "consumer", "reason", "code", "attempts", "at", "redriven"]
    main.operate(
        lambda house: house.quarantine.list(tenant, limit=limit),
        lambda found: output.table(
            columns,
            [(r.id, r.consumer, r.reason, r.code, r.attempts, r.at, r.redriven_at) for r in found],
            empty="nothing is in quarantine",
        ),
        as_json=as_json,
    )
