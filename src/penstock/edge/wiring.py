"""Edge settings and mounts become a listening server that stops without dropping a request."""

import contextlib
import socket
from collections.abc import Generator, Sequence
from typing import Final

import uvicorn

from penstock.base import errors
from penstock.edge import settings as edge_settings
from penstock.edge.entrypoints import http, probes

PREFERRED_PORT: Final = 8080
BACKLOG: Final = 2048


class _Server(uvicorn.Server):
    """Signals belong to the process, not to the listener."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


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
        config = uvicorn.Config(
            http.Edge(mounts, probe, limit=settings.in_flight),
            loop="none",
            http="httptools",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=int(settings.drain_s),
        )
        self._server = _Server(config)

    async def serve(self) -> None:
        """Answer requests until `stop`."""
        await self._server.serve(sockets=[self._socket])

    def stop(self) -> None:
        """Accept nothing more; `serve` returns when what is in flight has been answered."""
        self._probe.draining = True
        self._server.should_exit = True


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Port 0: the preferred one when it is free, else any. Raises Rejected `port_in_use`."""
    for candidate in [port] if port else [PREFERRED_PORT, 0]:
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            if candidate in {port, 0}:
                raise errors.Rejected(
                    "port_in_use",
                    f"cannot listen on {host} port {candidate}: {error.strerror}",
                    hint="Choose another with PENSTOCK_EDGE__PORT.",
                    field="edge.port",
                ) from None
        else:
            listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
            return listener
    raise errors.Broken("no_port", "no candidate port was tried")
