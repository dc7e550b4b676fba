"""What is open between us and the servers: calls, subscriptions, refusals, and what is kept until one is back.

The carrier tells it what becomes of the connections, and it tells everybody whom that concerns.
"""

import asyncio
import collections
from collections.abc import Awaitable, Callable
from typing import Final

from penstock.base import errors, telemetry
from penstock.spine.plane import complaint, info
from penstock.spine.plane.address import Address
from penstock.spine.plane.connection import Connection
from penstock.spine.plane.message import Message
from penstock.spine.plane.replies import Replies
from penstock.spine.plane.subscription import Subscriptions

KEPT_LIMIT_BYTES: Final = 8 << 20
REFUSED_S: Final = 5.0
"""How long a subject that the server refused is refused here as well: somebody may permit it meanwhile."""
REFUSED_LIMIT: Final = 256

Tell = Callable[[int], None]

_log = telemetry.logger("spine.plane")


class Ledger:
    """Of one link: its `replies` and `subscriptions`, and whoever wants to know of its connections.

    `refused` has the subjects that the server refused of late; `standing` is set while a connection stands, and after
    the end.
    """

    def __init__(self, address: Address, barrier: Callable[[float], Awaitable[None]]) -> None:
        self._address = address
        self.closed = False
        self.payload_limit_bytes = info.PAYLOAD_LIMIT_BYTES
        self.replies = Replies(address.inbox_prefix)
        self.subscriptions = Subscriptions(barrier)
        self.answers = self.subscriptions.add(f"{self.replies.inbox}.*", self.replies.receive)
        self.standing = asyncio.Event()
        self.refused: dict[str, tuple[float, complaint.Complaint]] = {}
        self._kept: collections.deque[bytes] = collections.deque()
        self._kept_bytes = 0
        self._ups: dict[object, Tell] = {}
        self._downs: dict[object, Tell] = {}

    def on_up(self, tell: Tell) -> Callable[[], None]:
        """Tell of each new connection; returns what ends it."""
        return _entered(self._ups, tell)

    def on_down(self, tell: Tell) -> Callable[[], None]:
        """Tell of each connection that is gone; returns what ends it."""
        return _entered(self._downs, tell)

    def taken(self, number: int, connection: Connection) -> None:
        """A connection carries us: what was kept goes first."""
        connection.write(tuple(self._kept), self._kept_bytes)
        self._kept.clear()
        self._kept_bytes = 0
        self.refused.clear()
        self.standing.set()
        _tell(self._ups, number)

    def left(self, number: int) -> None:
        """A connection carries us no more."""
        if not self.closed:
            self.standing.clear()
        _tell(self._downs, number)

    def ended(self, number: int) -> None:
        """A connection is over: no answer comes on it any more."""
        self.replies.fail_connection(number, self.away)

    def informed(self, news: info.Info) -> None:
        """The server says what holds."""
        self.payload_limit_bytes = news.max_payload_bytes

    def in_flight(self, number: int) -> "list[asyncio.Future[Message]]":
        """The calls that a connection still owes an answer."""
        return self.replies.in_flight(number)

    def complained(self, said: complaint.Complaint) -> None:
        """A server refuses something: whoever wanted it is told, instead of waiting in vain."""
        if said.kind is complaint.Kind.PUBLISH:
            if len(self.refused) < REFUSED_LIMIT:
                self.refused[said.subject] = (asyncio.get_running_loop().time() + REFUSED_S, said)
            self.replies.fail_subject(said.subject, said.refusal)
        elif said.kind is complaint.Kind.REPLY:
            self.replies.fail_reply(said.subject, said.refusal)
        elif said.kind is complaint.Kind.SUBSCRIPTIONS:
            self.subscriptions.refuse_latest(said)
        elif said.kind is complaint.Kind.SUBSCRIBE and self.answers in self.subscriptions.refuse(said):
            self.replies.fail(self.unheard)

    def check_refused(self, subject: str) -> None:
        """Raise Rejected `not_permitted` for what the server refused a moment ago."""
        until, said = self.refused.get(subject, (0.0, None))
        if said is None:
            return
        if asyncio.get_running_loop().time() < until:
            raise said.refusal()
        del self.refused[subject]

    def keep(self, message: bytes) -> None:
        """Write it on the next connection. Raises Unavailable `congested` when that is too much."""
        if self._kept_bytes + len(message) > KEPT_LIMIT_BYTES:
            raise congested()
        self._kept.append(message)
        self._kept_bytes += len(message)

    def close(self) -> None:
        """No call is answered any more, nobody needs to wait, and nothing is kept."""
        self.replies.fail(self.away)
        self.standing.set()
        self._kept.clear()

    def away(self) -> errors.Unavailable:
        """The error while no connection stands."""
        if self.closed:
            return errors.Unavailable("spine_closed", "the connection to NATS was closed")
        return errors.Unavailable("disconnected", f"NATS at {self._address} does not answer")

    def unheard(self) -> errors.Rejected:
        """The error for calls whose answers we may not listen for."""
        return errors.Rejected(
            "not_permitted",
            f"NATS does not let us listen for answers on {self.answers.pattern}",
            hint="Set PENSTOCK_NATS__INBOX_PREFIX to the prefix that this user may subscribe to.",
            status=403,
        )

    def too_large(self) -> errors.Rejected:
        """The error for a message that the server would not take."""
        return errors.Rejected(
            "too_large",
            f"headers and body are larger than the server's limit of {self.payload_limit_bytes} bytes",
            hint="Send a reference to an object instead.",
            status=413,
        )


def congested() -> errors.Unavailable:
    """The error for more than may wait to be written."""
    return errors.Unavailable("congested", "NATS does not take what is written", hint="The server is overloaded.")


def _entered(table: dict[object, Tell], tell: Tell) -> Callable[[], None]:
    key = object()
    table[key] = tell

    def end() -> None:
        table.pop(key, None)

    return end


def _tell(table: dict[object, Tell], number: int) -> None:
    for tell in list(table.values()):
        try:
            tell(number)
        except Exception as error:  # noqa: BLE001 - one part must not keep the others from knowing
            _log.error("part failed", exc_info=error)
