"""What has ended before its time, in order: sessions, tokens, users' freedom, accounts' roles.

Every serving process reads it (`guilder.platform.standing`). Each function here takes effect with
the commit of the transaction it is given: in this process before `Database.run` returns, in every
other within moments. Rows are added, and purged once no token can be older.

Rows on one subject are written under a lock on that subject, so their positions are in the order
of the commits; among transactions the positions are in no order that a reader could rely on.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final
from uuid import UUID

from guilder.kernel.ids import SessionId, UserId
from guilder.platform.db import Tx, notify_after_commit, rows_done
from guilder.platform.permissions import Definitions
from guilder.platform.standing import CHANNEL, KEPT_S, Batch, Kind, Revocation

_ADD: Final = """
    INSERT INTO identity.revocations (kind, subject_id) SELECT $1, unnest($2::uuid[])
"""
_ADD_ROLES: Final = """
    INSERT INTO identity.revocations (kind, subject_id, roles)
    SELECT 'roles_changed', $1, ARRAY(
        SELECT role FROM identity.role_assignments WHERE account_id = $1 ORDER BY role
    )
"""
_ADD_DEFINITIONS: Final = """
    INSERT INTO identity.revocations (kind) VALUES ('definitions_changed')
"""
# Whatever may still be under way is read again next time: the horizon is all that a cursor passes.
_READ: Final = """
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS horizon,
        r.position, r.kind, r.subject_id, r.roles
    FROM (SELECT) AS once
    LEFT JOIN identity.revocations r ON r.transaction >= $1::text::xid8
        AND r.made_at > clock_timestamp() - make_interval(secs => $2)
    ORDER BY r.position
"""
_ROLES: Final = "SELECT name, permissions FROM identity.roles WHERE NOT comes_with_guilder"
_PERMISSIONS: Final = "SELECT name FROM identity.permissions"
_PURGE: Final = """
    DELETE FROM identity.revocations
    WHERE made_at < statement_timestamp() - make_interval(secs => $1)
"""


async def end_sessions(tx: Tx, session_ids: Collection[SessionId]) -> None:
    """No token of these sessions is accepted any more. The caller has locked or ended their rows.

    A machine client's tokens end so, too, where they name a session of their own.
    """
    await _add(tx, Kind.SESSION_ENDED, session_ids)


async def end_tokens(tx: Tx, token_ids: Collection[UUID]) -> None:
    """These access tokens, by their ``jti``, are accepted no more."""
    await _add(tx, Kind.TOKEN_ENDED, token_ids)


async def freeze(tx: Tx, user_id: UserId) -> None:
    """No token of any account of this user is accepted. The caller holds the lock on the user."""
    await _add(tx, Kind.USER_FROZEN, [user_id])


async def unfreeze(tx: Tx, user_id: UserId) -> None:
    """Tokens of this user are judged by themselves again. The caller holds the user's lock."""
    await _add(tx, Kind.USER_UNFROZEN, [user_id])


async def roles_changed(tx: Tx, account_id: UserId) -> None:
    """Tokens of this account carry the roles it has now, whatever they say.

    Called after the assignments were written, by whoever holds the lock on them.
    """
    await tx.execute(_ADD_ROLES, account_id)
    notify_after_commit(CHANNEL)


async def definitions_changed(tx: Tx) -> None:
    """What roles grant has changed: every process reads the roles again."""
    await tx.execute(_ADD_DEFINITIONS)
    notify_after_commit(CHANNEL)


async def read(tx: Tx, *, after: int) -> Batch:
    """What was revoked in the transaction numbered ``after`` and in later ones."""
    rows = await tx.fetch(_READ, str(after), float(KEPT_S))
    return Batch(
        horizon=int(rows[0]["horizon"]),
        revocations=[
            Revocation(
                position=row["position"],
                kind=Kind(row["kind"]),
                subject_id=row["subject_id"],
                roles=frozenset(row["roles"] or ()),
            )
            for row in rows
            if row["position"] is not None
        ],
    )


async def definitions(tx: Tx) -> Definitions:
    """What every role grants that did not come with Guilder."""
    return Definitions(
        roles={row["name"]: frozenset(row["permissions"]) for row in await tx.fetch(_ROLES)},
        permissions=frozenset(row["name"] for row in await tx.fetch(_PERMISSIONS)),
    )


async def purge(tx: Tx) -> int:
    """Delete what no token can be older than; how many rows."""
    return rows_done(await tx.execute(_PURGE, float(KEPT_S)))


async def _add(tx: Tx, kind: Kind, ids: Collection[UUID]) -> None:
    if not ids:
        return
    await tx.execute(_ADD, kind.value, list(ids))
    notify_after_commit(CHANNEL)
