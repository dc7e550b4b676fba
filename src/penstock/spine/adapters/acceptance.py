"""What every transport refuses before it sends: subjects, headers and sizes that would not arrive as they are.

One place, so that what the in-memory transport accepts in a test is what a server accepts in production.
"""

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Final

from penstock.base import errors
from penstock.spine import ports

_GRAMMAR = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_CONCRETE = re.compile(r"[^\s.*>\x00]+(?:\.[^\s.*>\x00]+)*")
_PATTERN = re.compile(r"(?:\*|[^\s.*>\x00]+)(?:\.(?:\*|[^\s.*>\x00]+))*(?:\.>)?|>")
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_KEY = re.compile(r"[A-Za-z0-9_/=-]+(?:\.[A-Za-z0-9_/=-]+)*")
_BUCKET = re.compile(r"[A-Za-z0-9_-]+")

_LINE_BYTES: Final = 4
"""A header line's colon, space and line end."""

_BLOCK_BYTES: Final = 12
"""`NATS/1.0`, its line end, and the empty line that ends the block."""


ENTRY_HEADERS_BYTES: Final = 256
"""Room for the headers that writing a bucket's entry needs."""


def message(outgoing: ports.Outgoing, limit_bytes: int) -> bytes:
    """Refuse a message that may not be stored, or return its header block as it goes over the wire (empty for none).

    Raises Rejected `bad_subject`, `bad_header` or `too_large`.
    """
    _keeps_the_grammar(outgoing.subject)
    return _block(outgoing.headers, outgoing.body, limit_bytes)


def signal(outgoing: ports.Signal, limit_bytes: int) -> bytes:
    """Refuse a signal that may not be sent, or return its header block; any concrete subject will do.

    Raises as `message` does.
    """
    if not _CONCRETE.fullmatch(outgoing.subject):
        raise errors.Rejected("bad_subject", "a signal needs a subject without wildcards or blanks", field="subject")
    return _block(outgoing.headers, outgoing.body, limit_bytes)


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


@functools.lru_cache(maxsize=4096)
def _keeps_the_grammar(subject: str) -> None:
    """Raise Rejected `bad_subject`, or remember that it is good: conversations go on."""
    if not _GRAMMAR.fullmatch(subject):
        raise errors.Rejected(
            "bad_subject", "a subject is tokens of letters, digits, '-' and '_' joined by dots", field="subject"
        )


def _block(headers: Mapping[str, str], body: bytes, limit_bytes: int) -> bytes:
    """Encode first and look at the result: that costs less than looking at each value."""
    if not headers:
        if len(body) > limit_bytes:
            raise _too_large(limit_bytes)
        return b""
    form, ends = _form(tuple(headers))
    text = form % tuple(headers.values())
    if text.count("\r") != ends or text.count("\n") != ends or "\0" in text:
        raise _bad_header()
    try:
        block = text.encode()
    except UnicodeEncodeError:
        raise _bad_header() from None
    if len(block) + len(body) > limit_bytes:
        raise _too_large(limit_bytes)
    return block


@functools.lru_cache(maxsize=256)
def _form(names: tuple[str, ...]) -> tuple[str, int]:
    """The header block of these names with `%s` for each value, and how many line ends it has.

    The names of a route are always the same. Raises Rejected `bad_header`, which is not remembered.
    """
    if not all(_HEADER_NAME.fullmatch(name) for name in names):
        raise _bad_header()
    lines = "".join(f"{name.replace('%', '%%')}: %s\r\n" for name in names)
    return f"NATS/1.0\r\n{lines}\r\n", len(names) + 2


def _bad_header() -> errors.Rejected:
    return errors.Rejected(
        "bad_header", "header names are HTTP tokens; values are text without line ends", field="headers"
    )


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
