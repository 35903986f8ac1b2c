"""Events wait here in the transaction of the change they speak of, until the bus has read them.

Their order is (transaction id, position), and readers stay below the oldest transaction still
running: a row that commits late is then never skipped, which a cursor on a sequence would do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

import msgspec
from msgspec import Struct

from guilder.kernel.ids import EventId
from guilder.platform.db import Row, Tx
from guilder.platform.identifiers import new_id
from guilder.platform.origin import NOWHERE, Origin, current

CHANNEL: Final = "guilder_outbox"

_COLUMNS: Final = ("id", "type", "key", "data", "actor_id", "request_id", "trace_id")
_READ: Final = """
    SELECT id, type, key, created_at, data, actor_id, request_id, trace_id,
        transaction::text AS transaction, position
    FROM platform.outbox
    WHERE (transaction, position) > ($1::text::xid8, $2)
      AND transaction < pg_snapshot_xmin(pg_current_snapshot())
    ORDER BY transaction, position
    LIMIT $3
"""


class Outgoing(Struct, frozen=True, gc=False):
    """An event to be published. ``data`` is JSON text; order is kept among equal keys."""

    id: EventId
    type: str
    key: str
    data: str
    origin: Origin = NOWHERE


@dataclass(frozen=True, slots=True)
class Position:
    """How far a reader has come: the last event it has read."""

    transaction: str = "0"
    position: int = 0


class Fact(Protocol):
    """An event as its context declares it: a frozen dataclass or struct with a ``TYPE``."""

    TYPE: ClassVar[str]


def outgoing(fact: Fact, *, key: str, origin: Origin | None = None) -> Outgoing:
    """The fact as an event to be published, in order among those with the same ``key``.

    ``origin`` is where it comes from; None: from what is being done just now.
    """
    return Outgoing(
        EventId(new_id()),
        fact.TYPE,
        key,
        msgspec.json.encode(fact).decode(),
        current() if origin is None else origin,
    )


async def append(tx: Tx, events: Sequence[Outgoing], *, wake: bool = True) -> None:
    """Write events beside the change they speak of; they exist if and only if it commits.

    ``wake`` tells readers at once. On paths with thousands of commits a second leave it out:
    PostgreSQL lets commits that notify pass one at a time, and readers look by themselves.
    """
    if not events:
        return
    await tx.copy_records_to_table(
        "outbox",
        schema_name="platform",
        columns=_COLUMNS,
        records=[
            (
                event.id,
                event.type,
                event.key,
                event.data,
                event.origin.actor_id,
                event.origin.request_id,
                event.origin.trace_id,
            )
            for event in events
        ],
    )
    if wake:
        await tx.execute("SELECT pg_notify($1, '')", CHANNEL)


async def read(tx: Tx, after: Position, *, limit: int) -> Sequence[Row]:
    """The next events after a position, oldest first, none of which can be joined by an earlier."""
    return await tx.fetch(_READ, after.transaction, after.position, limit)
