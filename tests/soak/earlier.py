"""An earlier build beside this one, on one bus and one database: a conversation across both, both ways.

    python -m tests.soak.earlier [REVISION]

The earlier build is what git has under a revision (the newest tag, if none is named), in a temporary folder. While its
locked packages are ours it runs on ours, without a network; else it gets an environment of its own. It starts first;
then this build's `penstock up` brings the schema up under it and takes its share of the work, as in a rolling upgrade.
"""

import asyncio
import contextlib
import dataclasses
import subprocess
import sys
import tarfile
from collections.abc import AsyncGenerator, Mapping
from io import BytesIO
from pathlib import Path

from penstock.servers import testing as servers
from tests.e2e import installation as installations
from tests.e2e import processes
from tests.soak import stage as stages
from tests.soak import verdict as verdicts

MESSAGES = 200
CAST = stages.Cast(rooms=16)


class NoBuild(Exception):
    """There is no such revision; the text is one sentence."""


@dataclasses.dataclass(frozen=True, slots=True)
class Build:
    """A build of the product: its name, and the variables under which its commands run instead of ours."""

    name: str
    variables: Mapping[str, str]


def newest_tag() -> str:
    """The newest tag. Raises NoBuild when there is none yet."""
    tags = _git("tag", "--sort=-creatordate").decode().split()
    if not tags:
        raise NoBuild("there is no tag yet: name a revision (make compatibility EARLIER=HEAD)")
    return tags[0]


def unpacked(revision: str, folder: Path) -> Build:
    """The build of a revision, ready to run in `folder`. Raises NoBuild."""
    with tarfile.open(fileobj=BytesIO(_git("archive", "--format=tar", revision))) as archive:
        archive.extractall(folder, filter="data")
    variables = {"PYTHONPATH": str(folder / "src")}
    ours, theirs = ((tree / "requirements.lock").read_bytes() for tree in (installations.REPOSITORY, folder))
    if ours != theirs:
        subprocess.run([sys.executable, "tools/environment.py", "product"], cwd=folder, check=True)
        variables[installations.PYTHON] = str(folder / ".venv" / "bin" / "python")
    return Build(revision, variables)


def _git(*arguments: str) -> bytes:
    done = subprocess.run(["git", *arguments], cwd=installations.REPOSITORY, capture_output=True, check=False)
    if done.returncode:
        raise NoBuild(f"git {' '.join(arguments)}: {done.stderr.decode().strip()}")
    return done.stdout


@contextlib.asynccontextmanager
async def opened(folder: Path, earlier: Build) -> AsyncGenerator[tuple[stages.Stage, stages.Stage]]:
    """The earlier build and this one, each with a core, an app and people of its own, on the same two servers."""
    async with (
        servers.held_nats(folder / "nats") as nats,
        servers.held_postgres(folder / "postgres", durable=True) as postgres,
        contextlib.AsyncExitStack() as stack,
    ):
        shared = {
            "PENSTOCK_NATS_URL": nats.endpoint.url_with_credentials(),
            "PENSTOCK_POSTGRES_URL": postgres.endpoint.url(),
            "XDG_CONFIG_HOME": str(folder / "config"),  # one key that seals secrets
        }
        both = list[stages.Stage]()
        for number, variables in enumerate((earlier.variables, {}), start=1):
            place = folder / f"build-{number}"
            place.mkdir(mode=0o711)
            environ = installations.environment(place, **shared, **variables)
            running = await stack.enter_async_context(installations.up(environ))
            if not both:
                await running.cli("tenant", "create", stages.TENANT)
            stage = stages.Stage(running)
            await stack.enter_async_context(stages.talk(stage, CAST, number, running.http_url))
            await stack.enter_async_context(stages.app(stage, CAST, 1))
            both.append(stage)
        yield both[0], both[1]


async def converse(earlier: stages.Stage, this: stages.Stage) -> verdicts.Verdict:
    """Talk to both while both answer, then while the app of only one of them does, each in turn."""
    await _say(earlier, this)
    for silent in (earlier, this):
        async with silent.kept("app").stopped():
            await _say(earlier, this)
    await _say(earlier, this)
    return await earlier.verdict() + await this.verdict()


async def _say(*both: stages.Stage) -> None:
    await asyncio.gather(*(stage.say(MESSAGES, pause_s=0.02) for stage in both))
    await asyncio.gather(*(stage.answered() for stage in both))


async def run(revision: str) -> bool:
    """Print what a conversation across both builds came to; whether it is good."""
    with servers.temporary_folder() as folder:
        source = folder / "earlier"
        source.mkdir(mode=0o711)
        build = unpacked(revision, source)
        try:
            async with opened(folder, build) as both:
                verdict = await converse(*both)
        finally:
            processes.kill(folder)
    print(f"{build.name} beside this build: {verdict.said} messages, {verdict}")
    return verdict.good


def main() -> int:
    """Read the argument and run; the exit code."""
    try:
        return 0 if asyncio.run(run(sys.argv[1] if len(sys.argv) > 1 else newest_tag())) else 1
    except NoBuild as error:
        sys.stderr.write(f"penstock: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
