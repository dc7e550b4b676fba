"""`/health`, `/ready` and `/metrics` of an app's process, for a monitor that asks once in a while.

A few lines of HTTP/1.1 on asyncio and no web framework: three pages, GET only, one request per connection.
"""

import asyncio
import contextlib
import http
import re
from collections.abc import Callable, Mapping
from typing import Final

from penstock.base import errors, telemetry

LONGEST_LINE: Final = 2048
PATIENCE_S: Final = 5.0

_QUERY: Final = re.compile(r"(?:tenant=([A-Za-z0-9-]{1,64}))?")
_REASONS: Final = {status: http.HTTPStatus(status).phrase for status in (200, 400, 404, 405, 503)}


class Probes:
    """Three pages. `answers` says for which tenants the process is there, and whether it takes their messages now.

    `/health` is 200: the process can answer. `/ready` is 200 while it takes everybody's messages, else 503: starting,
    draining, or without a bus. `/ready?tenant=NAME` is about one tenant, and 404 for one that this process is not there
    for. `/metrics` is Prometheus' text format.
    """

    def __init__(self, answers: Callable[[], Mapping[str, bool]]) -> None:
        self._answers = answers
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises Rejected `port_taken` when that is not possible."""
        try:
            self._server = await asyncio.start_server(self._serve, host, port, limit=LONGEST_LINE)
        except OSError as error:
            raise errors.Rejected(
                "port_taken",
                f"cannot listen on {host}:{port}: {error.strerror or 'no such address'}",
                hint="Choose another PENSTOCK_SDK__PROBE_PORT.",
                field="sdk.probe_port",
            ) from None

    @property
    def port(self) -> int:
        """The port listened on; 0 before `start`."""
        return self._server.sockets[0].getsockname()[1] if self._server else 0

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(PATIENCE_S):
                line = await reader.readline()
                while await reader.readline() not in {b"\r\n", b"\n", b""}:
                    continue
                writer.write(self._answer(line))
                await writer.drain()
        writer.close()

    def _answer(self, line: bytes) -> bytes:
        method, _, rest = line.decode("latin-1").partition(" ")
        path, _, query = rest.split(" ")[0].partition("?")
        kind, status, body = "text/plain; charset=utf-8", 200, b"ok\n"
        if method not in {"GET", "HEAD"}:
            status, body = 405, b"only GET\n"
        elif path == "/metrics":
            kind, body = telemetry.FORMAT, telemetry.exposition()
        elif path == "/ready":
            status, body = self._ready(query)
        elif path != "/health":
            status, body = 404, b"there are /health, /ready and /metrics\n"
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode("latin-1") + (b"" if method == "HEAD" else body)

    def _ready(self, query: str) -> tuple[int, bytes]:
        answers, asked = self._answers(), _QUERY.fullmatch(query)
        if asked is None:
            return 400, b"the query is tenant=NAME, or nothing\n"
        if asked[1] and asked[1] not in answers:
            return 404, b"this process does not answer for that tenant\n"
        if not (answers[asked[1]] if asked[1] else all(answers.values())):
            return 503, b"not listening: starting, draining, or without a bus\n"
        return 200, b"ok\n"
