"""The rows of a batch as one parameter, laid out here as the server reads them (``array_recv``).

The driver's own encoder looks at each row in four ways before it calls an encoder for each of its
fields. A row that is laid out here costs a third of that, and rows are most of what a batch sends.

A statement names such a parameter by a domain over an array of rows, as in
``unnest($1::ledger.new_entries)``; `Learning.teach` tells a session to send those as they
are. A row has the columns of its type in their order. One whose columns all have a fixed length is
packed by one `Struct`, a head (`ID`, `INTEGER`, …) before each value; another by `row`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from struct import Struct
from typing import Any, Final, NewType
from uuid import UUID

from guilder.kernel.clock import shared_epoch_microseconds

PackedRows = NewType("PackedRows", bytes)
"""An array of rows: what a parameter takes."""

_HEAD: Final = Struct(">ii").pack
"""A column's type, by the object id that PostgreSQL has given it for good, and its length."""
_ARRAY: Final = Struct(">iiiii").pack
_RECORD: Final = 2249
_UUID: Final = 2950
_INT8: Final = 20
_TEXT: Final = 25
_BYTEA: Final = 17
_TIMESTAMPTZ: Final = 1184
_ABSENT: Final = -1
_SINCE_2000_US: Final = 946_684_800_000_000

ID: Final = _HEAD(_UUID, 16)
"""Before the 16 bytes of a uuid, in a row of one `Struct`."""
INTEGER: Final = _HEAD(_INT8, 8)
"""Before the 8 bytes of a bigint, or of a timestamptz (`since_2000`) after `MOMENT`."""
MOMENT: Final = _HEAD(_TIMESTAMPTZ, 8)
DIGEST: Final = _HEAD(_BYTEA, 32)
"""Before the 32 bytes of a SHA-256."""

_NO_ID: Final = _HEAD(_UUID, _ABSENT)
_NO_MOMENT: Final = _HEAD(_TIMESTAMPTZ, _ABSENT)
_NO_TEXT: Final = _HEAD(_TEXT, _ABSENT)
_BIGINT: Final = Struct(">q").pack
_DOMAINS: Final = """
    SELECT s.nspname AS schema, d.typname AS name
    FROM pg_type d
    JOIN pg_namespace s ON s.oid = d.typnamespace
    JOIN pg_type a ON a.oid = d.typbasetype
    JOIN pg_type r ON r.oid = a.typelem
    WHERE d.typtype = 'd' AND r.typtype = 'c'
"""


_needed: Final[set[tuple[str, str]]] = set()
"""Schema and name of every domain that a statement names."""


def row_array(name: str) -> str:
    """The name, for a statement, of a domain over an array of rows; sessions shall know it."""
    schema, _, own = name.partition(".")
    _needed.add((schema, own))
    return name


class Learning:
    """What a pool's sessions have learned; ``is_early`` once one knows less than it needs."""

    def __init__(self) -> None:
        self.is_early = False

    async def teach(self, session: Any) -> None:
        """Let a new session take `PackedRows`, for the domains that the database has.

        Those that it lacks come with a migration, and this session does not learn of them.
        """
        found = await _domains(session)
        for schema, name in found:
            await session.set_builtin_type_codec(
                name, schema=schema, codec_name="bytea", format="binary"
            )
        if not _needed <= found:
            self.is_early = True

    async def is_over(self, session: Any) -> bool:
        """Whether the database has every domain by now: sessions opened from here on know all."""
        if _needed <= await _domains(session):
            self.is_early = False
            return True
        return False


async def _domains(session: Any) -> set[tuple[str, str]]:
    return {(schema, name) for schema, name in await session.fetch(_DOMAINS)}


def rows(packed: Sequence[bytes]) -> PackedRows:
    """Rows of one type as a parameter. The server knows which it is; here it is a ``record``."""
    return PackedRows(_ARRAY(1, 0, _RECORD, len(packed), 1) + b"".join(packed))


def row(*columns: bytes) -> bytes:
    """A row of columns, each as one of the functions below has it."""
    packed = b"".join(columns)
    return _HEAD(4 + len(packed), len(columns)) + packed


def head_of_row(columns: int, *, size: int) -> bytes:
    """What a row of one `Struct` of ``size`` bytes begins with, these eight included."""
    return _HEAD(size - 4, columns)


def id_column(value: UUID | None) -> bytes:
    """A uuid."""
    return _NO_ID if value is None else ID + value.bytes


def integer_column(value: int) -> bytes:
    """A bigint."""
    return INTEGER + _BIGINT(value)


def moment_column(value: datetime | None) -> bytes:
    """A timestamptz."""
    return _NO_MOMENT if value is None else MOMENT + _BIGINT(since_2000(value))


def digest_column(value: bytes) -> bytes:
    """A bytea of 32 bytes."""
    return DIGEST + value


def text_column(value: str | None) -> bytes:
    """A text."""
    if value is None:
        return _NO_TEXT
    encoded = value.encode()
    return _HEAD(_TEXT, len(encoded)) + encoded


@lru_cache(maxsize=1024)
def word_column(value: str) -> bytes:
    """A text that many rows have in common: a kind, a currency."""
    return text_column(value)


def since_2000(moment: datetime) -> int:
    """A timestamptz as PostgreSQL has it: microseconds since the beginning of the year 2000."""
    return shared_epoch_microseconds(moment) - _SINCE_2000_US
