"""Events wait here in the transaction of the change they speak of, until the bus has read them.

Their order is (transaction, position), which for each key is the order in which the changes were
made. Readers stay below the oldest transaction still running: an event that commits late is then
never skipped, which a cursor on a sequence would do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, Protocol

import msgspec
from msgspec import Struct

from guilder.kernel.ids import EventId
from guilder.platform import failpoints
from guilder.platform.db import Tx
from guilder.platform.db_rows import id_column, row, row_array, rows, text_column, word_column
from guilder.platform.db_writes import Write, write_together
from guilder.platform.identifiers import new_id
from guilder.platform.origin import NOWHERE, Origin, current

CHANNEL: Final = "guilder_outbox"
BEFORE_SEND: Final = failpoints.declare(
    "outbox.before_send", "events are read by the relay to Kafka, none is sent"
)
AFTER_SEND: Final = failpoints.declare(
    "outbox.after_send", "Kafka has the events, their position is not recorded"
)

# Not by COPY, which the server plans anew each time: it pays only from some hundred rows on.
_EVENTS: Final = (
    (
        "told",
        f"""
        INSERT INTO platform.outbox (id, type, key, data, actor_id, request_id, trace_id)
        SELECT id, type, key, data::jsonb, actor_id, request_id, trace_id
        FROM unnest($1::{row_array("platform.new_events")})
            WITH ORDINALITY AS e(id, type, key, data, actor_id, request_id, trace_id, place)
        ORDER BY place
        """,  # noqa: S608 - the name is written here
    ),
)


class Outgoing(Struct, frozen=True, gc=False):
    """An event to be published. ``data`` is JSON text; order is kept among equal keys."""

    id: EventId
    type: str
    key: str
    data: str
    origin: Origin = NOWHERE


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


async def append(tx: Tx, events: Sequence[Outgoing]) -> None:
    """Write events beside the change they speak of; they exist if and only if it commits.

    Readers are woken once it has, by another connection: PostgreSQL lets transactions that notify
    commit one at a time.
    """
    if events:
        await write_together(tx, [write_of(events)])


def write_of(events: Sequence[Outgoing]) -> Write:
    """What `append` does, to be done together with what else the transaction writes.

    What puts the events of a key in their order is locked by then: see `write_together`.
    """
    packed_rows = rows([packed(event) for event in events])
    return Write(parts=_EVENTS, args=(packed_rows,), wakes=CHANNEL)


def packed(event: Outgoing) -> bytes:
    """A row of ``platform.new_event``."""
    origin = event.origin
    return row(
        id_column(event.id),
        word_column(event.type),
        text_column(event.key),
        text_column(event.data),
        id_column(origin.actor_id),
        text_column(origin.request_id),
        text_column(origin.trace_id),
    )
