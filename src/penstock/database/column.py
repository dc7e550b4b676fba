"""Columns of many rows, each as one parameter: a value is encoded once, when its row is made, and checked by that.

psycopg looks at every element of a list, twice, to find its type; here the type is the column's. A statement takes
columns apart again with `unnest`. Format: PostgreSQL's binary array (`array_recv` in its `arrayfuncs.c`), of elements
in the binary form of their type, each behind its length.
"""

import re
import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Final

import psycopg
from psycopg import adapt, pq

from penstock.database import failure

_length: Final = struct.Struct(">i").pack
_head: Final = struct.Struct(">iiiii").pack
_small: Final = struct.Struct(">ih").pack
_large: Final = struct.Struct(">iq").pack
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_NUL: Final = re.compile(rb"\\u0000")


class Column(bytes):
    """One column, ready to be bound as a parameter. Made by `of`."""

    sql: ClassVar[str]
    element: ClassVar[int]
    array: ClassVar[int]

    @classmethod
    def of(cls, elements: Sequence[bytes]) -> "Column":
        """A column of at least one element, each made by this type's function below."""
        return cls(_head(1, 0, cls.element, len(elements), 1) + b"".join(elements))


class Texts(Column):
    """`text[]`, of elements by `text`."""

    sql, element, array = "text", 25, 1009


class Blobs(Column):
    """`bytea[]`, of elements by `blob`."""

    sql, element, array = "bytea", 17, 1001


class Documents(Column):
    """`jsonb[]`, of elements by `document`."""

    sql, element, array = "jsonb", 3802, 3807


class Moments(Column):
    """`timestamptz[]`, of elements by `moment`."""

    sql, element, array = "timestamptz", 1184, 1185


class Smallints(Column):
    """`smallint[]`, of elements by `smallint`."""

    sql, element, array = "smallint", 21, 1005


class Bigints(Column):
    """`bigint[]`, of elements by `bigint`."""

    sql, element, array = "bigint", 20, 1016


def text(value: str) -> bytes:
    """An element of `Texts`. Raises Rejected `unstorable_text` for a NUL character or an unpaired surrogate."""
    try:
        raw = value.encode()
    except UnicodeEncodeError:
        raise failure.unstorable() from None
    if b"\0" in raw:
        raise failure.unstorable()
    return _length(len(raw)) + raw


def texts(*values: str) -> list[bytes]:
    """An element of `Texts` for each value, at once. Raises Rejected `unstorable_text` as `text` does."""
    try:
        parts = "\0".join(values).encode().split(b"\0")
    except UnicodeEncodeError:
        raise failure.unstorable() from None
    if len(parts) != len(values):
        raise failure.unstorable()
    return [_length(len(part)) + part for part in parts]


def blob(value: bytes) -> bytes:
    """An element of `Blobs`."""
    return _length(len(value)) + value


def document(value: str) -> bytes:
    """An element of `Documents`, from JSON text. Raises Rejected `unstorable_text` as `text` does."""
    try:
        raw = value.encode()
    except UnicodeEncodeError:
        raise failure.unstorable() from None
    if b"\\u0000" in raw and _NUL.search(raw.replace(b"\\\\", b"")):
        raise failure.unstorable()
    return _length(len(raw) + 1) + b"\x01" + raw


def moment(value: datetime) -> bytes:
    """An element of `Moments`, from an aware time."""
    return _large(8, (value - _EPOCH) // _MICROSECOND)


def smallint(value: int) -> bytes:
    """An element of `Smallints`."""
    return _small(2, value)


def bigint(value: int) -> bytes:
    """An element of `Bigints`."""
    return _large(8, value)


class _Encoded(adapt.Dumper):
    """Binds a column as what it is."""

    format = pq.Format.BINARY

    def dump(self, obj: Column) -> Column:
        return obj


for _kind in (Texts, Blobs, Documents, Moments, Smallints, Bigints):
    psycopg.adapters.register_dumper(_kind, type(f"{_kind.__name__}Dumper", (_Encoded,), {"oid": _kind.array}))
