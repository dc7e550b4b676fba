"""Real servers for tests: started from the wheels in half a second, and stopped whatever happens.

In a coroutine `async with testing.running_nats() as nats:`; where there is no event loop
`with testing.running(testing.running_postgres) as postgres:`. What `held_nats` and `held_postgres` give can be taken
away for a while.
"""

import asyncio
import contextlib
import dataclasses
import secrets
import shutil
import subprocess
import tempfile
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path
from typing import Generic, TypeVar

from penstock.base import errors
from penstock.servers import binaries, folder, process
from penstock.servers.endpoints import NatsEndpoint, PostgresEndpoint
from penstock.servers.nats import EmbeddedNats
from penstock.servers.postgres import EmbeddedPostgres
from penstock.servers.settings import ServersSettings

T = TypeVar("T")
E = TypeVar("E", NatsEndpoint, PostgresEndpoint)


@contextlib.contextmanager
def temporary_folder() -> Generator[Path]:
    """An empty folder that every user may pass through (root's servers run as another), removed afterwards.

    pytest's `tmp_path` is closed to other users, so it is no data folder for tests that run as root.
    """
    path = Path(tempfile.mkdtemp(prefix="penstock-test-"))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@dataclasses.dataclass(frozen=True, slots=True)
class Held(Generic[E]):
    """A server in the hands of a test, which may take it away for a while."""

    endpoint: E
    server: EmbeddedNats | EmbeddedPostgres

    @contextlib.asynccontextmanager
    async def away(self) -> AsyncGenerator[None]:
        """Stopped for as long as the block lasts; it comes back under the same address with all it kept."""
        await self.server.stop()
        try:
            yield
        finally:
            again = await self.server.start()
        if again != self.endpoint:
            raise errors.Broken("moved", "the server came back under another address: its port was taken meanwhile")


@contextlib.asynccontextmanager
async def held_nats(
    data_folder: Path | None = None, settings: ServersSettings | None = None
) -> AsyncGenerator[Held[NatsEndpoint]]:
    """A nats-server with JetStream, in a temporary folder unless another is given."""
    with _prepared(data_folder) as prepared:
        server = EmbeddedNats(prepared, settings or ServersSettings(data_folder=prepared.path))
        try:
            yield Held(await server.start(), server)
        finally:
            await server.stop()


@contextlib.asynccontextmanager
async def held_postgres(
    data_folder: Path | None = None, settings: ServersSettings | None = None, *, durable: bool = False
) -> AsyncGenerator[Held[PostgresEndpoint]]:
    """A Postgres with pgvector and the empty database `penstock`; without waiting for the disk unless `durable`."""
    with _prepared(data_folder) as prepared:
        server = EmbeddedPostgres(prepared, settings or ServersSettings(data_folder=prepared.path), durable=durable)
        try:
            yield Held(await server.start(), server)
        finally:
            await server.stop()


@contextlib.asynccontextmanager
async def running_nats(
    data_folder: Path | None = None, settings: ServersSettings | None = None
) -> AsyncGenerator[NatsEndpoint]:
    """As `held_nats`, for a test that only uses it."""
    async with held_nats(data_folder, settings) as held:
        yield held.endpoint


@contextlib.asynccontextmanager
async def running_postgres(
    data_folder: Path | None = None, settings: ServersSettings | None = None, *, durable: bool = False
) -> AsyncGenerator[PostgresEndpoint]:
    """As `held_postgres`, for a test that only uses it."""
    async with held_postgres(data_folder, settings, durable=durable) as held:
        yield held.endpoint


@contextlib.contextmanager
def running(server: Callable[[], contextlib.AbstractAsyncContextManager[T]]) -> Generator[T]:
    """Hold one of the above from code without an event loop, such as a session's fixture: a thread runs the loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="penstock-test-servers")
    thread.start()
    try:
        held = server()
        value = asyncio.run_coroutine_threadsafe(held.__aenter__(), loop).result()
        try:
            yield value
        finally:
            asyncio.run_coroutine_threadsafe(held.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextlib.contextmanager
def fresh_database(endpoint: PostgresEndpoint, *, like: PostgresEndpoint | None = None) -> Generator[PostgresEndpoint]:
    """Another database on the same server, dropped afterwards: empty, or as the one it is `like`, which nobody uses.

    Roles belong to the server and are shared.
    """
    name = f"test_{secrets.token_hex(6)}"
    _administer(endpoint, "createdb", *([f"--template={like.dbname}"] if like else []), name)
    try:
        yield PostgresEndpoint(endpoint.host, endpoint.port, endpoint.user, endpoint.password, name)
    finally:
        _administer(endpoint, "dropdb", "--force", name)


def _administer(endpoint: PostgresEndpoint, program: str, *arguments: str) -> None:
    subprocess.run(
        [str(binaries.postgres_folder() / program), "-h", endpoint.host, "-U", endpoint.user, "-w", *arguments],
        env=process.plain_environment() | {"PGPASSWORD": endpoint.password, "PGPORT": str(endpoint.port)},
        check=True,
        capture_output=True,
    )


@contextlib.contextmanager
def _prepared(data_folder: Path | None) -> Generator[folder.DataFolder]:
    with contextlib.ExitStack() as stack:
        path = data_folder or stack.enter_context(temporary_folder()) / "data"
        yield folder.prepare(path, build="test")
