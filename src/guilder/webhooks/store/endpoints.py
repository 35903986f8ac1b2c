"""Endpoints: rows of their own, and the row lock under which everything about one happens."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from msgspec import Struct

from guilder.kernel.ids import UserId
from guilder.platform.db import Row, Tx
from guilder.webhooks.api import DisabledReason, EndpointId, EndpointStatus
from guilder.webhooks.domain.records import Endpoint

_COLUMNS: Final = """id, owner_id, acts_for, url, description, events, status, disabled_reason,
    secret, previous_secret, previous_until, failing_since, created_at, changed_at"""
_INSERT: Final = """
    INSERT INTO webhooks.endpoints (id, owner_id, url, description, events, status, secret,
        created_at, changed_at, acts_for)
    VALUES ($1, $2, $3, $4, $5, 'enabled', $6, $7, $7, $8)
"""
# Two registrations of one owner at once must not both pass under the limit.
_LOCK_OWNER: Final = "SELECT pg_advisory_xact_lock(hashtextextended('webhooks.owner/' || $1, 0))"
_COUNT: Final = """
    SELECT count(*) FROM webhooks.endpoints WHERE owner_id = $1 AND status <> 'deleted'
"""
_IS_GONE: Final = "SELECT owner_id FROM webhooks.gone_owners WHERE owner_id = $1"
_GONE: Final = "INSERT INTO webhooks.gone_owners (owner_id) VALUES ($1) ON CONFLICT DO NOTHING"
_FORGET_GONE: Final = """
    DELETE FROM webhooks.gone_owners WHERE gone_at < statement_timestamp() - $1::interval
"""
_ONE: Final = f"SELECT {_COLUMNS} FROM webhooks.endpoints WHERE id = $1 AND status <> 'deleted'"
_LOCK: Final = f"{_ONE} FOR NO KEY UPDATE"
_PAGE: Final = f"""
    SELECT {_COLUMNS} FROM webhooks.endpoints
    WHERE owner_id = $1 AND id > $2 AND status <> 'deleted' ORDER BY id LIMIT $3
"""
_ANY: Final = "SELECT EXISTS (SELECT FROM webhooks.endpoints)"
_OVERDUE: Final = """
    SELECT GREATEST(0, extract(epoch FROM clock_timestamp() - min(next_due_at)))::float8
    FROM webhooks.endpoints WHERE next_due_at <= statement_timestamp()
"""
_LOCK_THOSE_OF: Final = """
    SELECT id, owner_id, acts_for, events, status FROM webhooks.endpoints
    WHERE (owner_id = ANY($1::uuid[]) OR acts_for = ANY($1::uuid[])) AND status <> 'deleted'
    ORDER BY id FOR NO KEY UPDATE
"""
_LOCK_THOSE_BEFORE: Final = """
    SELECT id FROM webhooks.endpoints
    WHERE (owner_id = $1 OR acts_for = $1) AND created_at <= $2 AND status <> 'deleted'
    ORDER BY id FOR NO KEY UPDATE
"""
_CHANGE: Final = """
    UPDATE webhooks.endpoints
    SET url = $2, description = $3, events = $4, status = $5, disabled_reason = $6,
        secret = $7, previous_secret = $8, previous_until = $9, failing_since = $10,
        changed_at = $11
    WHERE id = $1
"""
_DELETE: Final = """
    UPDATE webhooks.endpoints
    SET status = 'deleted', url = '', description = '', secret = '', previous_secret = NULL,
        previous_until = NULL, next_due_at = NULL, changed_at = statement_timestamp()
    WHERE id = $1
"""
_HEALTH: Final = """
    UPDATE webhooks.endpoints
    SET failing_since = CASE WHEN $2 THEN NULL ELSE COALESCE(failing_since, $4) END, is_slow = $3
    WHERE id = $1
    RETURNING COALESCE(acts_for, owner_id) AS owner_id, url, status, failing_since
"""
_DISABLE: Final = """
    UPDATE webhooks.endpoints
    SET status = 'disabled', disabled_reason = $2, changed_at = $3 WHERE id = $1
"""


class Health(Struct, frozen=True, kw_only=True):
    """What an endpoint is like after an attempt. ``owner_id`` is the person to be told of it."""

    owner_id: UserId
    url: str
    status: EndpointStatus
    failing_since: datetime | None


async def insert(tx: Tx, endpoint: Endpoint) -> None:
    """Write a new, enabled endpoint."""
    await tx.execute(
        _INSERT,
        endpoint.id,
        endpoint.owner_id,
        endpoint.url,
        endpoint.description,
        list(endpoint.events),
        endpoint.secret,
        endpoint.created_at,
        endpoint.acts_for,
    )


async def count_of(tx: Tx, owner_id: UserId) -> int:
    """How many endpoints somebody has; nobody else adds one of theirs until the commit."""
    await tx.execute(_LOCK_OWNER, str(owner_id))
    found: int = await tx.fetchval(_COUNT, owner_id)
    return found


async def is_gone(tx: Tx, owner_id: UserId) -> bool:
    """Whether somebody registers nothing any more."""
    return await tx.fetchval(_IS_GONE, owner_id) is not None


async def say_goodbye(tx: Tx, owner_id: UserId) -> None:
    """Let somebody register nothing any more, in turn with those who register for them."""
    await tx.execute(_LOCK_OWNER, str(owner_id))
    await tx.execute(_GONE, owner_id)


async def forget_gone(tx: Tx, *, older_than: timedelta) -> None:
    """Forget who has gone for so long that no token of theirs is good."""
    await tx.execute(_FORGET_GONE, older_than)


async def one(tx: Tx, endpoint_id: EndpointId) -> Endpoint | None:
    """An endpoint, unless it was deleted."""
    row = await tx.fetchrow(_ONE, endpoint_id)
    return None if row is None else _endpoint(row)


async def lock(tx: Tx, endpoint_id: EndpointId) -> Endpoint | None:
    """`one`, with the lock on everything about it."""
    row = await tx.fetchrow(_LOCK, endpoint_id)
    return None if row is None else _endpoint(row)


async def page(tx: Tx, owner_id: UserId, *, after: UUID, limit: int) -> list[Endpoint]:
    """An owner's endpoints in order of registration."""
    return [_endpoint(row) for row in await tx.fetch(_PAGE, owner_id, after, limit)]


async def are_there_any(tx: Tx) -> bool:
    """Whether anybody ever registered an endpoint."""
    found: bool = await tx.fetchval(_ANY)
    return found


async def overdue_s(tx: Tx) -> float:
    """For how many seconds the delivery that is most overdue has waited for a worker."""
    found: float | None = await tx.fetchval(_OVERDUE)
    return found or 0.0


async def lock_those_of(tx: Tx, owners: Collection[UserId]) -> Sequence[Row]:
    """Lock the endpoints of ``owners``, and of who acts for them, in the order of their ids."""
    return await tx.fetch(_LOCK_THOSE_OF, list(owners))


async def lock_those_before(tx: Tx, owner: UserId, *, before: datetime) -> list[EndpointId]:
    """Lock the endpoints that an owner, and who acts for them, had at a time, in id order."""
    return [EndpointId(row["id"]) for row in await tx.fetch(_LOCK_THOSE_BEFORE, owner, before)]


async def change(tx: Tx, endpoint: Endpoint) -> None:
    """Write what may change of an endpoint."""
    await tx.execute(
        _CHANGE,
        endpoint.id,
        endpoint.url,
        endpoint.description,
        list(endpoint.events),
        endpoint.status.value,
        endpoint.disabled_reason and endpoint.disabled_reason.value,
        endpoint.secret,
        endpoint.previous_secret,
        endpoint.previous_until,
        endpoint.failing_since,
        endpoint.changed_at,
    )


async def delete(tx: Tx, endpoint_id: EndpointId) -> None:
    """Forget an endpoint's address and secrets. Its deliveries are cleared away later."""
    await tx.execute(_DELETE, endpoint_id)


async def note_health(
    tx: Tx, endpoint_id: EndpointId, *, is_well: bool, is_slow: bool, now: datetime
) -> Health | None:
    """Keep how an attempt went; None where there is no such endpoint any more."""
    row = await tx.fetchrow(_HEALTH, endpoint_id, is_well, is_slow, now)
    if row is None:
        return None
    return Health(
        owner_id=row["owner_id"],
        url=row["url"],
        status=EndpointStatus(row["status"]),
        failing_since=row["failing_since"],
    )


async def disable(
    tx: Tx, endpoint_id: EndpointId, *, reason: DisabledReason, now: datetime
) -> None:
    """Call an endpoint no more."""
    await tx.execute(_DISABLE, endpoint_id, reason.value, now)


async def database_time(tx: Tx) -> datetime:
    """The time by the database, after the locks that were taken before."""
    found: datetime = await tx.fetchval("SELECT clock_timestamp()")
    return found


def _endpoint(row: Row) -> Endpoint:
    reason = row["disabled_reason"]
    return Endpoint(
        id=row["id"],
        owner_id=row["owner_id"],
        acts_for=row["acts_for"],
        url=row["url"],
        description=row["description"],
        events=tuple(row["events"]),
        status=EndpointStatus(row["status"]),
        disabled_reason=None if reason is None else DisabledReason(reason),
        secret=row["secret"],
        previous_secret=row["previous_secret"],
        previous_until=row["previous_until"],
        failing_since=row["failing_since"],
        created_at=row["created_at"],
        changed_at=row["changed_at"],
    )
