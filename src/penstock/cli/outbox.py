"""`penstock outbox`: what could not be published, and how to send it after all."""

from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli import output, verb

if TYPE_CHECKING:
    from penstock.app import house as houses
    from penstock.state import failures as rows

group = typer.Typer(
    help="What a stream refused for good, and sending it after all.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@group.command("ls")
def ls(
    tenant: verb.Tenant,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many of each room.")] = 50,
    as_json: verb.AsJson = False,
) -> None:
    """List messages that were given up, newest first.

    Example: penstock outbox ls -t acme
    """

    async def work(house: "houses.House") -> "list[rows.Failed]":
        return await house.failures.list(tenant, limit=limit)

    verb.operate(
        work,
        lambda found: output.table(
            ["room", "seq", "stream", "message_id", "failure", "failed_at"],
            [(row.room, row.seq, row.stream, row.message_id, row.failure, row.failed_at) for row in found],
            empty="nothing was given up",
        ),
        as_json=as_json,
    )


@group.command("revive")
def revive(tenant: verb.Tenant, as_json: verb.AsJson = False) -> None:
    """Send all of them after all; mend the cause first.

    Example: penstock outbox revive -t acme
    """

    async def work(house: "houses.House") -> dict[str, int]:
        return {"revived": await house.failures.revive(tenant)}

    verb.operate(work, lambda done: output.line(f"{done['revived']} sent after all"), as_json=as_json)
