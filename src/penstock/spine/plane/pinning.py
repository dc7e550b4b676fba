"""Being the one client that a durable hands messages to, and staying it.

The server pins a durable to whoever it gives the next message, and says so in a header of each message. Requests of the
owner name the pin; 423 answers those that name another. Whoever has made no request under his pin for `timeout_s` loses
it, however many of his requests wait: so a request that cannot be served is made again and again, also while nothing
else may be asked for. Of the statuses that it gets, only 423 says that the pin is lost. Found by experiment on
nats-server 2.15; the design: https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-42.md
"""

import contextlib
from typing import Final

from penstock.base import errors
from penstock.spine.plane import delivery
from penstock.spine.plane.link import Link

KEEP: Final = "keep"
"""Last token of the inbox that hears what becomes of `keep_request`."""
KEPT: Final = frozenset({"404", "408", "409"})
"""Nothing to give; others wait before; too large: each was read as a word from the owner."""

_NO_MARK: Final = b"\0"
"""In no header block."""


class Pin:
    """Whether, and as whom, we own the durable `address` (stream and name) in its priority group."""

    def __init__(self, address: tuple[str, str], *, group: str, timeout_s: float) -> None:
        self._address, self._group = address, group
        self.timeout_s = timeout_s
        self.id = ""
        """Ours; empty when, as far as we know, we are not the owner."""
        self.mark = _NO_MARK
        """Stands in the header block of each message that comes under our pin."""
        self.identity = b""
        """What our requests say about us."""
        self.lose()

    def take(self, pin_id: str) -> bool:
        """A message came under a pin; whether it is a new one."""
        if not pin_id or pin_id == self.id:
            return False
        self.id, self.mark = pin_id, f"{delivery.PIN}: {pin_id}\r\n".encode()
        self.identity = f',"group":"{self._group}","id":"{pin_id}"'.encode()
        return True

    def lose(self) -> None:
        """We are not the owner."""
        self.id, self.mark, self.identity = "", _NO_MARK, f',"group":"{self._group}"'.encode()

    @property
    def keep_request(self) -> bytes:
        """A request that is never served, since no message takes a single byte, and never waits."""
        return b'{"batch":1,"max_bytes":1,"no_wait":true%b}' % self.identity

    async def release(self, link: Link, timeout_s: float) -> None:
        """Let another one have it at once, if it is ours; when that fails, the server finds out by itself."""
        if self.id and link.connected:
            self.lose()
            stream, name = self._address
            with contextlib.suppress(errors.PenstockError):
                await link.call(
                    f"$JS.API.CONSUMER.UNPIN.{stream}.{name}", f'{{"group":"{self._group}"}}'.encode(), timeout_s
                )
