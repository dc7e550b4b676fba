"""The database cluster on disk: made whole or not at all, and refused when another Postgres made it."""

import contextlib
import dataclasses
import os
import shutil
import subprocess
from pathlib import Path

from penstock.base import errors
from penstock.servers import binaries, endpoints, files, identity, privileges, process
from penstock.servers.folder import DataFolder

INITDB_TIMEOUT_S = 120


@dataclasses.dataclass(frozen=True, slots=True)
class Cluster:
    """Makes and checks `<data>/postgres` with the programs in the folder `postgres`."""

    folder: DataFolder
    postgres: Path
    user: privileges.ServerUser
    durable: bool = True

    def ensure(self, password: str) -> None:
        """Have a cluster; a new one gets the database `penstock` and a superuser with this password.

        Raises Rejected when the folder holds another Postgres' cluster or anything else.
        """
        with files.explained(self.folder.path):
            if not self.folder.postgres.exists():
                self._make(password)
                return
            _require_major(self.folder.postgres)

    def _make(self, password: str) -> None:
        # initdb starts `postgres` through a shell, by its full path in double quotes.
        if strange := set(str(self.postgres)) & set('"$`\\'):
            raise errors.Rejected(
                "bad_folder",
                f"Postgres cannot be run from {self.postgres}, because of the character {min(strange)}",
                hint="Choose a data folder without it, with PENSTOCK_DATA or --data.",
            )
        draft = self.folder.path / "postgres.draft"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        # initdb insists on a user with an account; the server does not, and gets a uid that nobody else has.
        maker = privileges.named_user()
        privileges.hand_over(draft, maker)
        self._initdb(draft, maker, password)
        self._create_database(draft, maker)
        privileges.hand_over(draft, self.user)
        draft.rename(self.folder.postgres)

    def _initdb(self, draft: Path, maker: privileges.ServerUser, password: str) -> None:
        secret = self.folder.run / "superuser"
        files.write_private(secret, password + "\n", owner=maker.owner)
        argv = [
            str(self.postgres / "initdb"),
            *("-D", str(draft), "-U", endpoints.SUPERUSER, "-E", "UTF8", "--locale=C"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            *("--auth=scram-sha-256", f"--pwfile={secret}", "--no-instructions"),
            *(() if self.durable else ("--no-sync",)),
        ]
        try:
            self._run(argv, maker)
        finally:
            secret.unlink(missing_ok=True)

    def _create_database(self, draft: Path, maker: privileges.ServerUser) -> None:
        argv = [str(self.postgres / "postgres"), "--single", "-D", str(draft), *fsync_arguments(durable=self.durable)]
        self._run([*argv, "postgres"], maker, said=f"CREATE DATABASE {endpoints.DATABASE}\n")

    def _run(self, argv: list[str], user: privileges.ServerUser, *, said: str = "") -> None:
        try:
            done = subprocess.run(
                argv,
                input=said,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=INITDB_TIMEOUT_S,
                cwd="/",
                env=process.plain_environment(),
                umask=0o077,
                **user.popen(),
            )
        except subprocess.TimeoutExpired:
            raise self._not_made("it took too long") from None
        except (OSError, subprocess.SubprocessError) as error:
            raise process.cannot_start("Postgres", user, error) from None
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        # Single-user mode says in words only that a statement failed.
        wrong = [line for line in lines if "error:" in line.lower() or "FATAL:" in line]
        if done.returncode != 0 or wrong:
            raise self._not_made((wrong or lines[-1:] or ["it does not say why"])[0][:200])

    def _not_made(self, reason: str) -> errors.Unavailable:
        return errors.Unavailable(
            "no_cluster",
            f"Postgres cannot make its database: {reason}",
            hint=f"It would be in {self.folder.postgres}.",
            after_s=5,
        )


def fsync_arguments(*, durable: bool) -> tuple[str, ...]:
    """Arguments of `postgres`: as it should be, or for tests, whose data must survive a kill but no power cut."""
    return () if durable else ("-c", "fsync=off", "-c", "full_page_writes=off")


def forget_dead_postmaster(cluster: Path, socket_folder: Path) -> None:
    """Remove lock files of a postmaster that is gone; call it only while our slot is free.

    Postgres takes them for live when the pid is a zombie's (a container without an init keeps those) or was given to
    another process of the same user. One that somebody started by hand on this cluster is left to Postgres' own check.
    """
    for lock in (cluster / "postmaster.pid", socket_folder / f".s.PGSQL.{endpoints.PORT}.lock"):
        with contextlib.suppress(FileNotFoundError):
            first = lock.read_text(encoding="utf-8", errors="replace").partition("\n")[0].strip().lstrip("-")
            if not (first.isdigit() and identity.start_mark(int(first)) and _runs_on(int(first), cluster)):
                lock.unlink()


def _runs_on(pid: int, cluster: Path) -> bool:
    """Whether the arguments of a process name the cluster; where they cannot be read, it is believed."""
    try:
        return os.fsencode(cluster) in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True


def _require_major(cluster: Path) -> None:
    try:
        major = (cluster / "PG_VERSION").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise errors.Rejected(
            "not_a_cluster",
            f"the folder {cluster} is no Postgres cluster",
            hint="Restore it from a backup, or move it away.",
        ) from None
    if major != binaries.POSTGRES_MAJOR:
        raise errors.Rejected(
            "other_postgres_major",
            f"{cluster} was written by Postgres {major}, and this build runs Postgres {binaries.POSTGRES_MAJOR}",
            hint="Upgrade it with pg_upgrade, or run the Penstock build that wrote it.",
            status=409,
        )
