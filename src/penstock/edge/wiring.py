"""Edge settings and mounts become a listening server that stops without dropping a request."""

import asyncio
import contextlib
import errno
import math
import socket
from collections.abc import Generator, Sequence
from typing import Any, Final, cast

import uvicorn

from penstock.base import errors
from penstock.edge import settings as edge_settings
from penstock.edge.entrypoints import connection, http, probes

PREFERRED_PORT: Final = 8080
BACKLOG: Final = 2048


class _Server(uvicorn.Server):
    """Accepts connections, tells the date, and waits for what is in flight. Signals belong to the process."""

    _dated: list[tuple[bytes, bytes]] | None = None
    _lines = b""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    def lines(self) -> bytes:
        """The headers of every answer as lines; uvicorn replaces the list once a second."""
        if self.server_state.default_headers is not self._dated:
            self._dated = self.server_state.default_headers
            self._lines = b"".join(b"%b: %b\r\n" % pair for pair in self._dated)
        return self._lines


class EdgeServer:
    """The listener of one process: a socket of its own, unless somebody who outlives it holds one."""

    def __init__(
        self,
        settings: edge_settings.EdgeSettings,
        mounts: Sequence[http.Mount],
        probe: probes.Probes,
        *,
        listener: socket.socket | None = None,
    ) -> None:
        self._probe = probe
        self._socket = listener or bind(settings.host, settings.port)
        self.port: int = self._socket.getsockname()[1]
        edge = http.Edge(mounts, probe, limit=settings.in_flight)
        config = uvicorn.Config(
            edge,
            loop="none",
            http=cast("type[asyncio.Protocol]", self._connection),
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="critical",  # the edge logs and counts by itself, as JSON and with a request id
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=math.ceil(settings.drain_s),
        )
        self._server = _Server(config)
        state = self._server.server_state
        self._shared = connection.Listener(
            edge, settings.head_deadline_s, state.connections, state.tasks, self._server.lines
        )

    def _connection(self, **_: Any) -> connection.Connection:
        """What uvicorn makes for each connection that it accepts."""
        return connection.Connection(self._shared)

    async def serve(self) -> None:
        """Answer requests until `stop`."""
        await self._server.serve(sockets=[self._socket])

    def stop(self) -> None:
        """Accept nothing more; `serve` returns when what is in flight has been answered."""
        self._probe.draining = True
        self._server.should_exit = True


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Port 0: the preferred one when it is free, else any.

    Raises Rejected `port_in_use`, or `cannot_listen` for an address that is not ours.
    """
    for candidate in [port] if port else [PREFERRED_PORT, 0]:
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            if candidate == PREFERRED_PORT != port and error.errno == errno.EADDRINUSE:
                continue
            raise _refused(host, candidate, error) from None
        listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
        return listener
    raise errors.Broken("no_port", "no candidate port was tried")


def _refused(host: str, port: int, error: OSError) -> errors.Rejected:
    if error.errno == errno.EADDRINUSE:
        return errors.Rejected(
            "port_in_use",
            f"port {port} on {host} is in use",
            hint="Choose another with PENSTOCK_EDGE__PORT, or 0 for any that is free.",
            status=409,
            field="edge.port",
        )
    return errors.Rejected(
        "cannot_listen",
        f"cannot listen on {host} port {port}: {error.strerror}",
        hint="Choose another place with PENSTOCK_EDGE__HOST and PENSTOCK_EDGE__PORT.",
        field="edge.host",
    )
