"""Builds and runs the C client of `spine_c_client.c`, where libnats and a compiler are installed."""

import asyncio
import contextlib
import json
import shutil
import struct
import subprocess
from collections.abc import Generator, Sequence
from pathlib import Path

from bench import frame
from penstock.servers import endpoints
from penstock.servers import testing as server_testing
from penstock.spine import ports

SOURCE = Path(__file__).with_suffix(".c")
ENDS_S = 60.0


@contextlib.contextmanager
def built() -> Generator[Path]:
    """The program, in a folder that is gone afterwards. Raises frame.Absent with what would help."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise frame.Absent("there is no C compiler (apt-get install gcc)")
    with server_testing.temporary_folder() as folder:
        program = folder / "client"
        argv = [compiler, "-O2", "-o", str(program), str(SOURCE), "-lnats"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=ENDS_S)
        if done.returncode and "nats" in done.stderr and ("nats.h" in done.stderr or "-lnats" in done.stderr):
            raise frame.Absent("libnats is not installed (apt-get install libnats-dev)")
        if done.returncode:
            raise RuntimeError(f"the C client does not build: {done.stderr[:500]}")
        yield program


async def publish(
    program: Path, endpoint: endpoints.NatsEndpoint, messages: Sequence[ports.Outgoing], window: int
) -> tuple[float, float]:
    """Messages per second and CPU microseconds per message of the C process that publishes these."""
    process = await asyncio.create_subprocess_exec(
        str(program),
        endpoint.url_with_credentials(),
        str(window),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await asyncio.wait_for(process.communicate(b"".join(map(_packed, messages))), ENDS_S)
    if process.returncode:
        raise RuntimeError(f"the C client ended with {process.returncode}: {said.decode()[:500]}")
    measured = json.loads(said)
    return measured["messages_per_s"], measured["cpu_us"]


def _packed(message: ports.Outgoing) -> bytes:
    """Subject, number of headers, their names and values, body; each text after its length in four bytes."""
    texts = [message.subject.encode()]
    for name, value in message.headers.items():
        texts += [name.encode(), value.encode()]
    texts.append(message.body)
    return struct.pack("<I", len(message.headers)) + b"".join(struct.pack("<I", len(text)) + text for text in texts)
