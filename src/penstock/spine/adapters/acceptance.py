"""What every transport refuses before it sends: subjects, headers and sizes that would not arrive as they are.

One place, so that what the in-memory transport accepts in a test is what a server accepts in production.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from penstock.base import errors
from penstock.spine import ports

_GRAMMAR = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_CONCRETE = re.compile(r"[^\s.*>\x00]+(?:\.[^\s.*>\x00]+)*")
_PATTERN = re.compile(r"(?:\*|[^\s.*>\x00]+)(?:\.(?:\*|[^\s.*>\x00]+))*(?:\.>)?|>")
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BROKEN_LINE = re.compile(r"[\r\n\x00\ud800-\udfff]")
_KEY = re.compile(r"[A-Za-z0-9_/=-]+(?:\.[A-Za-z0-9_/=-]+)*")
_BUCKET = re.compile(r"[A-Za-z0-9_-]+")

_LINE_BYTES: Final = 4
"""A header line's colon, space and line end."""

_BLOCK_BYTES: Final = 12
"""`NATS/1.0`, its line end, and the empty line that ends the block."""


ENTRY_HEADERS_BYTES: Final = 256
"""Room for the headers that writing a bucket's entry needs."""


def message(outgoing: ports.Outgoing, limit_bytes: int) -> None:
    """Refuse a message that may not be stored. Raises Rejected `bad_subject`, `bad_header` or `too_large`."""
    if not _GRAMMAR.fullmatch(outgoing.subject):
        raise errors.Rejected(
            "bad_subject", "a subject is tokens of letters, digits, '-' and '_' joined by dots", field="subject"
        )
    _check(outgoing.headers, outgoing.body, limit_bytes)


def signal(outgoing: ports.Signal, limit_bytes: int) -> None:
    """Refuse a signal that may not be sent. Raises as `message` does; any concrete subject will do."""
    if not _CONCRETE.fullmatch(outgoing.subject):
        raise errors.Rejected("bad_subject", "a signal needs a subject without wildcards or blanks", field="subject")
    _check(outgoing.headers, outgoing.body, limit_bytes)


def pattern(subject: str) -> None:
    """Refuse what is not a subject with or without wildcards. Raises Rejected `bad_subject`."""
    if not _PATTERN.fullmatch(subject):
        raise errors.Rejected("bad_subject", "a pattern is tokens or '*' joined by dots, '>' last", field="subject")


def key(name: str) -> None:
    """Refuse what cannot be a key of a bucket. Raises Rejected `bad_key`."""
    if not _KEY.fullmatch(name):
        raise errors.Rejected("bad_key", "a key is letters, digits and '_/=-', with single dots inside", field="key")


def entry(name: str, value: bytes, limit_bytes: int) -> None:
    """Refuse what cannot be written to a bucket. Raises Rejected `bad_key` or `too_large`."""
    key(name)
    if len(value) + ENTRY_HEADERS_BYTES > limit_bytes:
        raise _too_large(limit_bytes)


def bucket(name: str) -> None:
    """Refuse what cannot name a bucket. Raises Rejected `bad_bucket`."""
    if not _BUCKET.fullmatch(name):
        raise errors.Rejected("bad_bucket", "a bucket's name is letters, digits, '-' and '_'", field="bucket")


def conflict(name: str) -> errors.Rejected:
    """What `create` and `update` of a bucket raise when somebody else wrote the key."""
    return errors.Rejected(
        "revision_conflict", f"key {name!r} was written by somebody else", hint="Read it again.", status=409
    )


def _check(headers: Mapping[str, str], body: bytes, limit_bytes: int) -> None:
    values = "".join(headers.values())
    names = "".join(headers)
    if headers and (not _HEADER_NAME.fullmatch(names) or "" in headers or _BROKEN_LINE.search(values)):
        raise errors.Rejected(
            "bad_header", "header names are HTTP tokens; values are text without line ends", field="headers"
        )
    # Four bytes is the most that UTF-8 needs for one character: most messages are let through without encoding twice.
    most = len(body) + len(names) + 4 * len(values) + _LINE_BYTES * len(headers) + _BLOCK_BYTES
    if most > limit_bytes and encoded_bytes(headers.items()) + len(body) > limit_bytes:
        raise _too_large(limit_bytes)


def _too_large(limit_bytes: int) -> errors.Rejected:
    return errors.Rejected(
        "too_large",
        f"headers and body are larger than the server's limit of {limit_bytes} bytes",
        hint="Send a reference to an object instead.",
        status=413,
    )


def encoded_bytes(headers: Iterable[tuple[str, str]]) -> int:
    """How many bytes a header block takes on the wire."""
    return _BLOCK_BYTES + sum(len(name) + len(value.encode()) + _LINE_BYTES for name, value in headers)
