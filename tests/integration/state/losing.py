"""A nats-server of one test, whose store can be deleted, copied and put back, and whose streams an operator handles."""

import contextlib
import json
import os
import shutil
import signal

import nats

from penstock.servers import testing as servers
from penstock.spine import provision
from penstock.spine.adapters import spine_nats


@contextlib.asynccontextmanager
async def losing_store(folder, policies):
    """A server with its data in `folder`, for streams of these policies."""
    async with servers.held_nats(folder) as held:
        yield Store(held, folder, policies)


class Store:
    """The server, and what happens to what it keeps."""

    def __init__(self, held, folder, policies):
        self.held, self.folder, self.policies = held, folder, policies
        self.url = held.endpoint.url_with_credentials()

    @property
    def jetstream(self):
        return self.folder / "nats" / "jetstream"

    @property
    def older(self):
        return self.folder / "older"

    def kill(self):
        """The server's process ends at once."""
        os.kill(json.loads((self.folder / "run" / "nats.json").read_text())["pid"], signal.SIGKILL)

    async def spine(self):
        return await spine_nats.NatsSpine.connect(self.url, wait_s=10)

    async def provide(self, spine):
        return await provision.streams(spine, self.policies)

    async def lose(self):
        """Killed, its folder removed, started."""
        self.kill()
        async with self.held.away():
            shutil.rmtree(self.jetstream)

    async def copy(self):
        """Keep the store as it is now."""
        async with self.held.away():
            shutil.copytree(self.jetstream, self.older, copy_function=shutil.copy)

    async def restore(self):
        """Put back what `copy` kept."""
        async with self.held.away():
            owner = self.jetstream.stat()
            shutil.rmtree(self.jetstream)
            shutil.copytree(self.older, self.jetstream)
            for path in (self.jetstream, *self.jetstream.rglob("*")):
                os.chown(path, owner.st_uid, owner.st_gid)

    @contextlib.asynccontextmanager
    async def operator(self):
        """The vendor's client, as somebody with the right to do anything."""
        client = await nats.connect(self.url)
        try:
            yield client.jetstream()
        finally:
            await client.close()
