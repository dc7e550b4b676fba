"""What a NATS server sends, cut into messages and control lines as it arrives, and handed on at once.

The protocol: https://docs.nats.io/reference/reference-protocols/nats-protocol. Nothing is kept but the beginning of
what has not arrived in full, and that is bounded: a line that does not end and a size that no server sends are errors.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from penstock.base import errors, telemetry
from penstock.spine.plane.message import Message, Receive

LINE_LIMIT_BYTES: Final = 32 << 10
"""Longest line: a server itself takes 4 KiB, but its INFO names every server of a large cluster."""
SIZE_FLOOR_BYTES: Final = 8 << 20
"""Smallest limit on a message's size: another server of the cluster may allow more than ours says."""
SIZE_CEILING_BYTES: Final = 64 << 20
"""Largest limit that nats-server can be given."""
SIZE_MARGIN_BYTES: Final = 64 << 10
"""Room for the headers that a server adds to what was published (`Nats-Subject` and others)."""

_END: Final = b"\r\n"
_SIZE_DIGITS: Final = 9
_INITIALS: Final = frozenset(b"MmHh")
_USUAL: Final = re.compile(
    rb"MSG ([!-~]+) (\d+) (\d{1,8})\r\n|HMSG ([!-~]+) (\d+) ([!-~]+) (\d{1,8}) (\d{1,8})\r\n"
).match
"""How a server announces an answer, and what is pulled. Anything else that announces a message is read with more care,
and takes twice as long."""

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
        limit_bytes = min(max(payload_limit_bytes, SIZE_FLOOR_BYTES), SIZE_CEILING_BYTES)
        self._size_limit_bytes = limit_bytes + SIZE_MARGIN_BYTES

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
            usual = _USUAL(data, position)
            if usual is not None:
                begin = usual.end()
                text, number, digits, headed_text, headed_number, reply_text, header_digits, headed_digits = (
                    usual.groups()
                )
                if digits is not None:
                    subject, reply, header_bytes, total_bytes = text.decode(), "", 0, int(digits)
                else:
                    subject, number, reply = headed_text.decode(), headed_number, reply_text.decode()
                    header_bytes, total_bytes = int(header_digits), int(headed_digits)
                if not header_bytes <= total_bytes <= self._size_limit_bytes:
                    raise _too_large()
            else:
                begin = _behind_line(data, position)
                if not begin:
                    break
                if data[position] not in _INITIALS:
                    line, position = data[position : begin - 2], begin
                    self._control(line)
                    continue
                subject, number, reply, header_bytes, total_bytes = self._announced(data[position : begin - 2])
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
        count, verb, digits = len(words), words[0], words[-1]
        if not digits.isdigit() or len(digits) > _SIZE_DIGITS:
            raise violation("a message without its size")
        total_bytes, header_bytes = int(digits), 0
        if verb != b"MSG" and verb.upper() != b"MSG":
            if verb != b"HMSG" and verb.upper() != b"HMSG":
                raise violation("something that is not its protocol")
            count, digits = count - 1, words[-2]
            if not digits.isdigit() or len(digits) > _SIZE_DIGITS:
                raise violation("a message without the size of its headers")
            header_bytes = int(digits)
        if not 4 <= count <= 5:
            raise violation("a message without its arguments")
        if not header_bytes <= total_bytes <= self._size_limit_bytes:
            raise _too_large()
        try:
            reply = words[3].decode() if count == 5 else ""
            return words[1].decode(), words[2], reply, header_bytes, total_bytes
        except UnicodeDecodeError:
            # Not text: it is received, and cannot be answered.
            reply = _shown(words[3]) if count == 5 else ""
            return _shown(words[1]), words[2], reply, header_bytes, total_bytes


def _behind_line(data: bytes, position: int) -> int:
    """Where the line that begins at a position is over; 0 when its end is still to come."""
    end = data.find(_END, position, position + LINE_LIMIT_BYTES)
    if end < 0 and len(data) - position >= LINE_LIMIT_BYTES:
        raise violation("a line that does not end")
    return end + 2 if end >= 0 else 0


def _shown(subject: bytes) -> str:
    return subject.decode(errors="backslashreplace")


def _too_large() -> errors.Unavailable:
    return violation("a message larger than any server sends")


def violation(what: str) -> errors.Unavailable:
    """The error for a server that does not keep to the protocol."""
    return errors.Unavailable("protocol_error", f"NATS sent {what}", hint="Is that address a NATS server?")
