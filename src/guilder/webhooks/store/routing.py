"""From an event to its deliveries: whose wallets are whose, and one INSERT … SELECT for a batch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct

from guilder.kernel.ids import UserId, WalletId
from guilder.platform.db import Row, Tx, notify_after_commit
from guilder.webhooks.api import DeliveryId, DeliveryState, EndpointId

CHANNEL: Final = "guilder_webhooks"

_LEARN: Final = """
    INSERT INTO webhooks.owners (wallet_id, owner_id)
    SELECT * FROM unnest($1::uuid[], $2::uuid[]) ON CONFLICT DO NOTHING
"""
_OWNERS: Final = """
    SELECT wallet_id, owner_id FROM webhooks.owners WHERE wallet_id = ANY($1::uuid[])
"""
_PARK: Final = """
    INSERT INTO webhooks.unrouted (event_id, wallet_id, owner_id, type, key, body, occurred_at)
    SELECT event_id, wallet_id, owner_id, type, key, body, occurred_at
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[],
        $7::timestamptz[])
        WITH ORDINALITY AS p(event_id, wallet_id, owner_id, type, key, body, occurred_at, nth)
    ORDER BY nth
    ON CONFLICT DO NOTHING
"""
_PARKED: Final = """
    SELECT DISTINCT key FROM webhooks.unrouted WHERE key = ANY($1::text[])
"""
# Of each key up to the first for somebody who is not known yet.
_UNPARK: Final = """
    WITH waiting AS (
        SELECT p.event_id, p.wallet_id, p.key, p.place,
            COALESCE(p.owner_id, o.owner_id) AS owner_id
        FROM webhooks.unrouted p LEFT JOIN webhooks.owners o USING (wallet_id)
    ), stuck AS (
        SELECT key, min(place) AS place FROM waiting WHERE owner_id IS NULL GROUP BY key
    )
    DELETE FROM webhooks.unrouted AS u USING (
        SELECT w.event_id, w.wallet_id, w.owner_id
        FROM waiting w LEFT JOIN stuck s USING (key)
        WHERE s.place IS NULL OR w.place < s.place
        ORDER BY w.place LIMIT $1
    ) AS known
    WHERE u.event_id = known.event_id AND u.wallet_id = known.wallet_id
    RETURNING u.event_id AS id, u.type, u.key, u.body, u.occurred_at, u.place, known.owner_id
"""
_KEEP: Final = """
    INSERT INTO webhooks.events (id, type, key, body, occurred_at)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[])
    ON CONFLICT DO NOTHING
"""
# The first of a line is due at once; what comes behind another waits for its turn.
_DELIVER: Final = """
    WITH wanted AS (
        SELECT w.*, row_number() OVER (PARTITION BY endpoint_id, key, state ORDER BY place) AS nth
        FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[])
            WITH ORDINALITY AS w(id, endpoint_id, event_id, key, state, place)
        WHERE NOT EXISTS (
            SELECT FROM webhooks.deliveries d
            WHERE d.endpoint_id = w.endpoint_id AND d.event_id = w.event_id)
    )
    INSERT INTO webhooks.deliveries (id, endpoint_id, event_id, key, state, due_at, created_at)
    SELECT w.id, w.endpoint_id, w.event_id, w.key, w.state,
        CASE WHEN w.state = 'pending' AND w.nth = 1 AND NOT EXISTS (
            SELECT FROM webhooks.deliveries d
            WHERE d.endpoint_id = w.endpoint_id AND d.key = w.key AND d.state = 'pending'
        ) THEN statement_timestamp() END,
        clock_timestamp()
    FROM wanted w ORDER BY w.place
"""
# An endpoint with all its places taken is looked at again when one is given back.
_SCHEDULE: Final = """
    UPDATE webhooks.endpoints AS e
    SET next_due_at = CASE WHEN e.status = 'enabled' THEN (
        SELECT CASE
            WHEN count(*) >= CASE WHEN e.is_slow THEN 1 ELSE $2::integer END
            THEN min(l.leased_until)
            ELSE (SELECT min(d.due_at) FROM webhooks.deliveries d
                  WHERE d.endpoint_id = e.id AND d.state = 'pending' AND d.due_at IS NOT NULL)
            END
        FROM webhooks.deliveries l
        WHERE l.endpoint_id = e.id AND l.leased_until > statement_timestamp()
    ) END
    WHERE e.id = ANY($1::uuid[])
"""


class Heard(Struct, frozen=True, kw_only=True):
    """A public event. ``body`` is what receivers get, letter by letter."""

    id: UUID
    type: str
    key: str
    body: str
    occurred_at: datetime


class SetAside(Struct, frozen=True, kw_only=True):
    """An event that waits for its turn. ``concerns`` is a wallet, or a person whom it names;
    ``owner_id`` is who is to hear of it, where that is known."""

    event: Heard
    concerns: WalletId | UserId
    owner_id: UserId | None


class Addressed(Struct, frozen=True, kw_only=True):
    """An event on its way to an endpoint, before it is written."""

    id: DeliveryId
    endpoint_id: EndpointId
    event: Heard
    state: DeliveryState


async def learn_owners(tx: Tx, owners: dict[WalletId, UserId]) -> None:
    """Keep whose wallets these are."""
    await tx.execute(_LEARN, list(owners), list(owners.values()))


async def owners_of(tx: Tx, wallets: Collection[WalletId]) -> dict[WalletId, UserId]:
    """Whose these wallets are; those that nobody has told of yet are left out."""
    rows = await tx.fetch(_OWNERS, list(wallets))
    return {row["wallet_id"]: row["owner_id"] for row in rows}


async def park(tx: Tx, parked: Sequence[SetAside]) -> None:
    """Put events aside, behind what is put aside already."""
    await tx.execute(
        _PARK,
        [one.event.id for one in parked],
        [one.concerns for one in parked],
        [one.owner_id for one in parked],
        [one.event.type for one in parked],
        [one.event.key for one in parked],
        [one.event.body for one in parked],
        [one.event.occurred_at for one in parked],
    )


async def parked_keys(tx: Tx, keys: Collection[str]) -> set[str]:
    """Those of these keys of which anything is put aside, for whomever it is."""
    return {row["key"] for row in await tx.fetch(_PARKED, list(keys))}


async def unpark(tx: Tx, *, limit: int) -> list[tuple[Heard, UserId]]:
    """Take up events that were put aside and whose turn it is, with who is to hear of them."""
    rows = sorted(await tx.fetch(_UNPARK, limit), key=lambda row: row["place"])
    return [(_heard(row), row["owner_id"]) for row in rows]


async def keep_events(tx: Tx, events: Sequence[Heard]) -> None:
    """Keep what will be sent."""
    await tx.execute(
        _KEEP,
        [event.id for event in events],
        [event.type for event in events],
        [event.key for event in events],
        [event.body for event in events],
        [event.occurred_at for event in events],
    )


async def deliver(tx: Tx, addressed: Sequence[Addressed], *, at_once: int) -> None:
    """Write deliveries behind what waits for their endpoints, and wake whoever sends.

    ``at_once`` is how many requests an endpoint may have on the way.
    """
    await tx.execute(
        _DELIVER,
        [delivery.id for delivery in addressed],
        [delivery.endpoint_id for delivery in addressed],
        [delivery.event.id for delivery in addressed],
        [delivery.event.key for delivery in addressed],
        [delivery.state.value for delivery in addressed],
    )
    await schedule(tx, {delivery.endpoint_id for delivery in addressed}, at_once=at_once)
    wake()


async def schedule(tx: Tx, endpoints: Collection[EndpointId], *, at_once: int) -> None:
    """Work out when something is to be done next for each of these locked endpoints."""
    await tx.execute(_SCHEDULE, list(endpoints), at_once)


def wake() -> None:
    """Tell whoever sends, once this is committed."""
    notify_after_commit(CHANNEL)


def _heard(row: Row) -> Heard:
    return Heard(
        id=row["id"],
        type=row["type"],
        key=row["key"],
        body=row["body"],
        occurred_at=row["occurred_at"],
    )
