"""Edge settings and mounts become a listening server that stops without dropping a request."""

import asyncio
import contextlib
import errno
import math
import socket
from collections.abc import Generator, Sequence
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http import httptools_impl

from penstock.base import context as contexts
from penstock.base import errors, ids
from penstock.edge import model
from penstock.edge import settings as edge_settings
from penstock.edge.entrypoints import http, probes

PREFERRED_PORT: Final = 8080
BACKLOG: Final = 2048
HEAD_BYTES: Final = 64 << 10
"""A request line and headers of this size are taken; what is larger by more than one read from the socket is not."""


class _Server(uvicorn.Server):
    """Signals belong to the process, not to the listener."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


class _Connection(httptools_impl.HttpToolsProtocol):
    """One connection, bounded until a request's headers are complete: from there on the edge itself sets the limits.

    The parser keeps what it has read of a request line or a header, however long, and would wait for the rest for ever.
    """

    head_deadline_s: float = 10.0

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head_bytes = 0
        self._in_head = True
        self._waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        if self._in_head and self._waiting is None:
            self._wait()
        self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self._refuse(model.Problem(431, "head_too_large", f"request line and headers are over {HEAD_BYTES} bytes"))

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head, self._head_bytes = True, 0

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's own words are not passed on
        """What the parser cannot read gets a problem too."""
        self._refuse(model.Problem(400, "bad_request", "this is not an HTTP/1.1 request"))

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(self.head_deadline_s, self._give_up)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        if self._head_bytes:
            self._refuse(model.Problem(408, "head_too_slow", "the headers did not arrive in time"))
        else:
            self.transport.close()

    def _refuse(self, problem: model.Problem) -> None:
        """Answer and close; just close while another answer is being written, which this one must not mix with."""
        http.refused.labels(problem.status, problem.code).inc()
        if self.cycle and not self.cycle.response_complete:
            self.transport.close()
            return
        request_id = ids.new_id()
        body = problem.body(request_id)
        head = (
            f"HTTP/1.1 {problem.status} \r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\n{contexts.HTTP_REQUEST}: {request_id}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


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
        class Connection(_Connection):
            head_deadline_s = settings.head_deadline_s

        self._probe = probe
        self._socket = listener or bind(settings.host, settings.port)
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            http.Edge(mounts, probe, limit=settings.in_flight),
            loop="none",
            http=Connection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="critical",  # the edge logs and counts by itself, as JSON and with a request id
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=math.ceil(settings.drain_s),
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
