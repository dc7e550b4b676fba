"""What a NATS server sends, cut into messages and control lines as it arrives, and handed on at once.

The protocol: https://docs.nats.io/reference/reference-protocols/nats-protocol. Nothing is kept but the beginning of
what has not arrived in full, and that is bounded: a line that does not end and a size that no server sends are errors.
"""

from collections.abc import Callable, Mapping
from typing import Final

from penstock.base import errors, telemetry
from penstock.spine.plane.message import Message, Receive

LINE_LIMIT_BYTES: Final = 32 << 10
"""Longest line: a server itself takes 4 KiB, but its INFO names every server of a large cluster."""
SIZE_FLOOR_BYTES: Final = 8 << 20
"""Smallest limit on a message's size: another server of the cluster may allow more than ours says."""
SIZE_MARGIN_BYTES: Final = 64 << 10
"""Room for the headers that a server adds to what was published (`Nats-Subject` and others)."""

_END: Final = b"\r\n"
_SIZE_DIGITS: Final = 9
_INITIALS: Final = frozenset({b"M", b"m", b"H", b"h"})
_PLAIN: Final = frozenset({b"MSG", b"msg"})
_HEADED: Final = frozenset({b"HMSG", b"hmsg"})

_log = telemetry.logger("spine.plane")


class Parser:
    """Dispatches messages to `receivers` by subscription number, and every other line to `control`.

    The mapping is looked into for each message: it may change while messages arrive.
    """

    __slots__ = ("_control", "_needed_bytes", "_partial", "_size_limit_bytes", "_stopped", "receivers")

    def __init__(self, receivers: Mapping[bytes, Receive], control: Callable[[bytes], None]) -> None:
        self.receivers, self._control = receivers, control
        self._partial = bytearray()
        self._needed_bytes = 0
        self._stopped = False
        self.limit_size(0)

    @property
    def kept_bytes(self) -> int:
        """How much of what has not arrived in full is kept."""
        return len(self._partial)

    def limit_size(self, payload_limit_bytes: int) -> None:
        """The server has said how large a message may be."""
        self._size_limit_bytes = max(payload_limit_bytes, SIZE_FLOOR_BYTES) + SIZE_MARGIN_BYTES

    def stop(self) -> None:
        """Dispatch nothing more, not even of what was fed already."""
        self._stopped = True
        self._partial.clear()

    def feed(self, data: bytes) -> None:
        """Take what arrived, however it was cut. Raises Unavailable `protocol_error`; feed nothing more then."""
        partial = self._partial
        if partial:
            partial += data
            if len(partial) < self._needed_bytes:
                return
            data = bytes(partial)
            partial.clear()
        position = self._dispatch(data)
        if not self._stopped and position < len(data):
            partial += data[position:] if position else data

    def _dispatch(self, data: bytes) -> int:
        """Hand on all that is there in full; returns where the rest begins, and notes how much of it is needed."""
        position, size, receivers = 0, len(data), self.receivers
        self._needed_bytes = 0
        while position < size and not self._stopped:
            begin = data.find(_END, position, position + LINE_LIMIT_BYTES) + 2
            if begin < 2:
                if size - position >= LINE_LIMIT_BYTES:
                    raise violation("a line that does not end")
                break
            line = data[position : begin - 2]
            if line[:1] not in _INITIALS:
                position = begin
                self._control(line)
                continue
            subject, number, reply, header_bytes, total_bytes = self._announced(line)
            end = begin + total_bytes
            if end + 2 > size:
                self._needed_bytes = end + 2 - position
                break
            if data[end : end + 2] != _END:
                raise violation("a message that is longer than announced")
            position = end + 2
            receive = receivers.get(number)
            if receive is not None:
                body_begin = begin + header_bytes
                try:
                    receive(Message(subject, reply, data[begin:body_begin], data[body_begin:end]))
                except Exception as error:  # noqa: BLE001 - one bad receiver must not end the connection of all
                    _log.error("receiver failed", exc_info=error)
        return position

    def _announced(self, line: bytes) -> tuple[str, bytes, str, int, int]:
        """Subject, subscription, reply, and the sizes of headers and of everything: of a MSG or HMSG line."""
        words = line.split(b" ")
        if b"  " in line or b"\t" in line or not words[-1]:
            # Only what the protocol takes for blanks: a subject may hold any other character.
            words = [word for word in line.replace(b"\t", b" ").split(b" ") if word]
        count = len(words) + (words[0] in _PLAIN)
        digits = words[-1]
        if not 5 <= count <= 6 or not digits.isdigit() or len(digits) > _SIZE_DIGITS:
            raise violation("a message without its arguments")
        total_bytes, header_bytes = int(digits), 0
        if words[0] not in _PLAIN:
            header_digits = words[-2]
            if not header_digits.isdigit() or len(header_digits) > _SIZE_DIGITS or words[0] not in _HEADED:
                raise violation("a message without its arguments")
            header_bytes = int(header_digits)
        if not header_bytes <= total_bytes <= self._size_limit_bytes:
            raise violation("a message larger than any server sends")
        try:
            return words[1].decode(), words[2], words[3].decode() if count == 6 else "", header_bytes, total_bytes
        except UnicodeDecodeError:
            reply = words[3].decode(errors="backslashreplace") if count == 6 else ""
            return words[1].decode(errors="backslashreplace"), words[2], reply, header_bytes, total_bytes


def violation(what: str) -> errors.Unavailable:
    """The error for a server that does not keep to the protocol."""
    return errors.Unavailable("protocol_error", f"NATS sent {what}", hint="Is that address a NATS server?")
