"""`penstock database`: a Postgres of one's own, made ready for processes that run apart."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli import output, verb

if TYPE_CHECKING:
    from penstock.app import database_logins as preparing

group = typer.Typer(
    help="A database of your own: schemas, roles and logins.", no_args_is_help=True, rich_markup_mode=None
)


@group.command("prepare")
def prepare(
    admin_url_file: Annotated[
        Path, typer.Option("--admin-url-file", help="File with the administrator's Postgres URL (0600).")
    ],
    logins: Annotated[Path, typer.Option("--logins", help="Folder for one file per login, which holds its URL.")],
    role: Annotated[
        list[str] | None, typer.Option("--role", help="Only this role's login, or operator; repeat it.")
    ] = None,
    renew: Annotated[bool, typer.Option("--renew", help="Make new passwords, also where there are some.")] = False,
    as_json: verb.AsJson = False,
) -> None:
    """Migrate, and make a login per role; passwords go to files.

    Example: penstock database prepare --admin-url-file admin.url --logins ./logins
    """

    async def work() -> "preparing.Prepared":
        from penstock.app import database_logins as preparing
        from penstock.base import telemetry

        telemetry.configure_logs(level="warning")
        return await preparing.prepare(admin_url_file, logins, names=role or (), renew=renew)

    done = verb.run(work, as_json=as_json)
    if as_json:
        output.document(done)
        return
    output.table(["login", "file"], sorted(done.files.items()), empty="")
    output.line(f"{len(done.applied)} migrations applied. Each file is a PENSTOCK_POSTGRES_URL; keep them apart.")
