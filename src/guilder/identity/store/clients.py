"""SQL of machine clients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from guilder.identity.api.clients import ClientView
from guilder.kernel.ids import SessionId, UserId
from guilder.platform.db import Row, Tx

_COLUMNS: Final = """
    id, owner_id, name, scopes, made_at, rotated_at, last_used_at,
    CASE WHEN previous_until > clock_timestamp() THEN previous_until END AS previous_until
"""
_LOCK_OWNER: Final = "SELECT status FROM identity.users WHERE id = $1 FOR NO KEY UPDATE"
_COUNT: Final = "SELECT count(*) FROM identity.clients WHERE owner_id = $1"
_ADD: Final = f"""
    INSERT INTO identity.clients (id, owner_id, name, scopes, secret_digest, tokens_id, made_by)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT DO NOTHING
    RETURNING {_COLUMNS}
"""
_PAGE: Final = f"""
    SELECT {_COLUMNS} FROM identity.clients
    WHERE owner_id IS NOT DISTINCT FROM $1 AND id > $2 ORDER BY id LIMIT $3
"""
_LOCK: Final = f"""
    SELECT {_COLUMNS}, tokens_id, secret_digest FROM identity.clients
    WHERE id = $1 AND owner_id IS NOT DISTINCT FROM $2 FOR NO KEY UPDATE
"""
_ROTATE: Final = f"""
    UPDATE identity.clients
    SET previous_digest = CASE WHEN $3::float8 > 0 THEN secret_digest END,
        previous_until = CASE WHEN $3::float8 > 0
            THEN clock_timestamp() + make_interval(secs => $3) END,
        secret_digest = $2, rotated_at = clock_timestamp()
    WHERE id = $1
    RETURNING {_COLUMNS}
"""
_RENEW_ALL_OF: Final = """
    UPDATE identity.clients SET tokens_id = gen_random_uuid() WHERE owner_id = $1
"""
_RENEW: Final = "UPDATE identity.clients SET tokens_id = $2 WHERE id = $1"
_DELETE: Final = "DELETE FROM identity.clients WHERE id = $1"
_LOCK_ALL_OF: Final = """
    SELECT id, tokens_id FROM identity.clients WHERE owner_id = $1 ORDER BY id FOR UPDATE
"""
_DELETE_ALL_OF: Final = "DELETE FROM identity.clients WHERE owner_id = $1"
_STORED: Final = """
    SELECT c.id, c.owner_id, c.scopes, c.tokens_id, c.secret_digest, a.type AS account_type,
        CASE WHEN c.previous_until > clock_timestamp() THEN c.previous_digest END AS previous,
        u.status, ARRAY(
            SELECT role FROM identity.role_assignments r WHERE r.account_id = a.id ORDER BY role
        ) AS roles
    FROM identity.clients c
    LEFT JOIN identity.users u ON u.id = c.owner_id
    LEFT JOIN identity.accounts a ON a.id = c.owner_id
    WHERE c.id = $1
"""
# Once a minute is enough to see whether a client is still in use.
_USED: Final = """
    UPDATE identity.clients SET last_used_at = clock_timestamp()
    WHERE id = $1 AND (last_used_at IS NULL
        OR last_used_at < statement_timestamp() - interval '1 minute')
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewClient:
    """A client about to be written."""

    id: UserId
    owner_id: UserId | None
    name: str
    scopes: tuple[str, ...]
    secret_digest: bytes = field(repr=False)
    tokens_id: SessionId
    made_by: UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedClient:
    """A client that nobody else changes now. Its tokens name ``tokens_id`` as their session."""

    view: ClientView
    tokens_id: SessionId
    secret_digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredClient:
    """A client with what its secret must match, and the owner whose roles bound it."""

    id: UserId
    owner_id: UserId | None
    owner_type: str | None
    owner_status: str | None
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    tokens_id: SessionId
    digests: tuple[bytes, ...] = field(repr=False)


async def count(tx: Tx, *, owner_id: UserId) -> int:
    """How many clients a user has, whose row is locked from now on."""
    await tx.fetchrow(_LOCK_OWNER, owner_id)
    found: int = await tx.fetchval(_COUNT, owner_id)
    return found


async def add(tx: Tx, client: NewClient) -> ClientView | None:
    """The client as it was written; None when this very client is there."""
    row = await tx.fetchrow(
        _ADD,
        client.id,
        client.owner_id,
        client.name,
        list(client.scopes),
        client.secret_digest,
        client.tokens_id,
        client.made_by,
    )
    return None if row is None else _view(row)


async def page(tx: Tx, *, owner_id: UserId | None, after: UUID, limit: int) -> Sequence[ClientView]:
    """The clients of a user, or those that are nobody's, in order of their making."""
    return [_view(row) for row in await tx.fetch(_PAGE, owner_id, after, limit)]


async def lock(tx: Tx, client_id: UserId, *, owner_id: UserId | None) -> LockedClient | None:
    """A client, locked; None when that owner has none such."""
    row = await tx.fetchrow(_LOCK, client_id, owner_id)
    if row is None:
        return None
    return LockedClient(
        view=_view(row),
        tokens_id=SessionId(row["tokens_id"]),
        secret_digest=row["secret_digest"],
    )


async def rotate(
    tx: Tx, client: LockedClient, *, secret_digest: bytes, overlap_s: float
) -> ClientView:
    """Give a client another secret; the one before stays good for ``overlap_s``."""
    row = await tx.fetchrow(_ROTATE, client.view.id, secret_digest, overlap_s)
    return client.view if row is None else _view(row)


async def renew_tokens(tx: Tx, client_id: UserId, *, tokens_id: SessionId) -> None:
    """Bind the tokens that a locked client gets from now on to another id."""
    await tx.execute(_RENEW, client_id, tokens_id)


async def renew_all_of(tx: Tx, owner_id: UserId) -> Sequence[SessionId]:
    """Bind what the clients of a user get from now on to other ids; what it was bound to."""
    rows = await tx.fetch(_LOCK_ALL_OF, owner_id)
    await tx.execute(_RENEW_ALL_OF, owner_id)
    return [SessionId(row["tokens_id"]) for row in rows]


async def delete(tx: Tx, client_id: UserId) -> None:
    """Delete a locked client."""
    await tx.execute(_DELETE, client_id)


async def delete_all_of(tx: Tx, owner_id: UserId) -> dict[UserId, SessionId]:
    """Delete every client of a user; which they were, and what their tokens are bound to."""
    rows = await tx.fetch(_LOCK_ALL_OF, owner_id)
    await tx.execute(_DELETE_ALL_OF, owner_id)
    return {UserId(row["id"]): SessionId(row["tokens_id"]) for row in rows}


async def stored(tx: Tx, client_id: UUID) -> StoredClient | None:
    """A client with what is needed to judge it."""
    row = await tx.fetchrow(_STORED, client_id)
    if row is None:
        return None
    digests = (row["secret_digest"], row["previous"])
    return StoredClient(
        id=UserId(row["id"]),
        owner_id=None if row["owner_id"] is None else UserId(row["owner_id"]),
        owner_type=row["account_type"],
        owner_status=row["status"],
        roles=tuple(row["roles"]),
        scopes=tuple(row["scopes"]),
        tokens_id=SessionId(row["tokens_id"]),
        digests=tuple(digest for digest in digests if digest is not None),
    )


async def mark_used(tx: Tx, client_id: UserId) -> None:
    """Note that a client got a token just now."""
    await tx.execute(_USED, client_id)


async def database_time(tx: Tx) -> datetime:
    """The server's time at this moment."""
    moment: datetime = await tx.fetchval("SELECT clock_timestamp()")
    return moment


def _view(row: Row) -> ClientView:
    return ClientView(
        id=UserId(row["id"]),
        owner_id=None if row["owner_id"] is None else UserId(row["owner_id"]),
        name=row["name"],
        scopes=tuple(row["scopes"]),
        made_at=row["made_at"],
        rotated_at=row["rotated_at"],
        previous_secret_until=row["previous_until"],
        last_used_at=row["last_used_at"],
    )
