"""SQL of verifications: locked before they are judged; their tokens spent in one statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from guilder.identity.api.verifications import Operation, Spending, VerificationId
from guilder.identity.domain.verifications import Standing, Status, parameters_digest
from guilder.kernel.ids import SessionId, UserId
from guilder.platform.db import Row, Tx, rows_done

_WHO_ASKS: Final = """
    SELECT a.user_id, a.type, p.id AS portal_id
    FROM identity.accounts a
    LEFT JOIN identity.accounts p ON p.user_id = a.user_id AND p.type = 'user_admin'
    WHERE a.id = $1
"""
_ONE_AT_A_TIME: Final = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"
_WAITING: Final = """
    SELECT id, expires_at FROM identity.verifications
    WHERE user_id = $1 AND account_id = $2 AND operation = $3 AND parameters = $4
        AND status = 'pending' AND expires_at > clock_timestamp() + $5::interval
    ORDER BY created_at DESC LIMIT 1
"""
_COUNTING_SESSION: Final = """
    SELECT id FROM identity.sessions WHERE id = $1 AND methods && $2::text[]
"""
# Each part is the newest that has to pass out of its time before there is room for one more.
_WAIT: Final = """
    WITH begun AS (
        SELECT id, created_at, status, tries FROM identity.verifications
        WHERE user_id = $1 AND session_id IS NOT DISTINCT FROM $2
            AND created_at > clock_timestamp() - GREATEST($4::interval, $6::interval)
    )
    SELECT GREATEST(
        (
            SELECT created_at + $4::interval FROM begun WHERE status NOT IN ('verified', 'used')
            ORDER BY created_at DESC OFFSET $3::int - 1 LIMIT 1
        ),
        (
            SELECT max(created_at) + $6::interval FROM (
                SELECT created_at, sum(tries) OVER (ORDER BY created_at DESC, id) AS wrong
                FROM begun WHERE created_at > clock_timestamp() - $6::interval
            ) AS newer WHERE wrong >= $5::int
        )
    ) - clock_timestamp()
"""
_ADD: Final = """
    INSERT INTO identity.verifications
        (id, user_id, account_id, operation, parameters, shown, session_id, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $8, clock_timestamp() + $7::interval)
    RETURNING created_at, expires_at
"""
_COLUMNS: Final = "user_id, account_id, operation, status, tries, token_digest, expires_at"
_LOCKED: Final = f"SELECT {_COLUMNS} FROM identity.verifications WHERE id = $1 FOR UPDATE"
_JUDGED: Final = """
    UPDATE identity.verifications
    SET status = $2, tries = $3, token_digest = $4,
        expires_at = COALESCE(clock_timestamp() + $5::interval, expires_at),
        ended_at = CASE WHEN $2 IN ('pending', 'verified') THEN NULL ELSE clock_timestamp() END
    WHERE id = $1
    RETURNING expires_at
"""
_PENDING: Final = """
    SELECT v.id, v.operation, v.shown, v.status, v.created_at, v.expires_at
    FROM identity.accounts a JOIN identity.verifications v ON v.user_id = a.user_id
    WHERE a.id = $1 AND a.type = 'user_admin'
        AND v.status = 'pending' AND v.expires_at > clock_timestamp()
    ORDER BY v.id DESC
"""
_OWNER: Final = "SELECT user_id FROM identity.accounts WHERE id = $1"
# Whether it is too late is judged in RETURNING, which is read once the row is locked; what SET and
# WHERE say of the time may be older than the lock.
_SPEND: Final = """
    UPDATE identity.verifications v
    SET status = CASE WHEN v.expires_at > clock_timestamp() THEN 'used' ELSE 'expired' END,
        used_by = CASE WHEN v.expires_at > clock_timestamp() THEN s.used_by END,
        ended_at = clock_timestamp()
    FROM unnest($1::bytea[], $2::uuid[], $3::text[], $4::bytea[], $5::uuid[])
        AS s(token_digest, account_id, operation, parameters, used_by)
    WHERE v.token_digest = s.token_digest AND v.account_id = s.account_id
        AND v.operation = s.operation AND v.parameters = s.parameters
        AND (v.status = 'verified' OR v.status = 'used' AND v.used_by = s.used_by)
    RETURNING s.used_by, v.status = 'used' AND v.expires_at > clock_timestamp() AS is_alive
"""
_ENDS: Final = """
    SELECT token_digest, account_id, status FROM identity.verifications
    WHERE token_digest = ANY($1::bytea[])
"""
_GIVE_BACK: Final = """
    UPDATE identity.verifications SET status = 'verified', used_by = NULL, ended_at = NULL
    WHERE status = 'used' AND used_by = ANY($1::uuid[])
"""
_END_OPEN: Final = """
    UPDATE identity.verifications SET status = 'cancelled', ended_at = clock_timestamp()
    WHERE user_id = $1 AND status IN ('pending', 'verified')
    RETURNING id
"""
_EXPIRE: Final = """
    UPDATE identity.verifications SET status = 'expired', ended_at = clock_timestamp()
    WHERE status IN ('pending', 'verified') AND expires_at <= statement_timestamp()
"""
_FORGET: Final = """
    DELETE FROM identity.verifications
    WHERE ended_at IS NOT NULL AND ended_at < statement_timestamp() - $1::interval
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """The user of an account that asks, and the account that may see the codes, if any."""

    user_id: UserId
    account_type: str
    portal_id: UserId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How many may come to nothing, and how many codes may be wrong, within which time."""

    unfinished: int
    unfinished_within: timedelta
    wrong: int
    wrong_within: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A verification that waits for its code."""

    id: VerificationId
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A verification as the user-admin account sees it, without its code."""

    id: VerificationId
    operation: Operation
    shown: Mapping[str, str]
    status: str
    created_at: datetime
    expires_at: datetime


async def who_asks(tx: Tx, account_id: UserId) -> Asker | None:
    """The user whose account this is."""
    row = await tx.fetchrow(_WHO_ASKS, account_id)
    if row is None:
        return None
    portal_id = None if row["portal_id"] is None else UserId(row["portal_id"])
    return Asker(user_id=UserId(row["user_id"]), account_type=row["type"], portal_id=portal_id)


async def wait_for_turn(tx: Tx, user_id: UserId) -> None:
    """Let this user's verifications begin one after the other."""
    await tx.execute(_ONE_AT_A_TIME, f"identity.verifications|{user_id}")


async def waiting(
    tx: Tx,
    user_id: UserId,
    *,
    account_id: UserId,
    operation: Operation,
    parameters: bytes,
    for_another: timedelta,
) -> Waiting | None:
    """The verification that waits for just this, for some time to come."""
    row = await tx.fetchrow(_WAITING, user_id, account_id, operation.value, parameters, for_another)
    if row is None:
        return None
    return Waiting(id=VerificationId(row["id"]), expires_at=row["expires_at"])


async def counting_session(
    tx: Tx, session_id: SessionId | None, *, by: Sequence[str]
) -> SessionId | None:
    """The session, if it began by one of these methods; None: it counts with all the others."""
    found: SessionId | None = await tx.fetchval(_COUNTING_SESSION, session_id, list(by))
    return found


async def wait(
    tx: Tx, user_id: UserId, *, session_id: SessionId | None, bounds: Bounds
) -> timedelta:
    """How long until there is room for another verification; zero or less: there is.

    Those count that the same session began, or together all those that none began by itself.
    """
    left: timedelta | None = await tx.fetchval(
        _WAIT,
        user_id,
        session_id,
        bounds.unfinished,
        bounds.unfinished_within,
        bounds.wrong,
        bounds.wrong_within,
    )
    return timedelta(0) if left is None else left


async def add(
    tx: Tx,
    verification_id: VerificationId,
    *,
    user_id: UserId,
    account_id: UserId,
    operation: Operation,
    parameters: bytes,
    shown: Mapping[str, str],
    session_id: SessionId | None,
    life: timedelta,
) -> tuple[datetime, datetime]:
    """When it was made and when it ends."""
    row = await tx.fetchrow(
        _ADD,
        verification_id,
        user_id,
        account_id,
        operation.value,
        parameters,
        msgspec.json.encode(shown).decode(),
        life,
        session_id,
    )
    if row is None:
        raise AssertionError  # pragma: no cover - an insert returns its row
    return row["created_at"], row["expires_at"]


async def locked(tx: Tx, verification_id: UUID) -> Standing | None:
    """The verification, locked until the transaction ends."""
    row = await tx.fetchrow(_LOCKED, verification_id)
    return None if row is None else _standing(row)


async def write_verdict(
    tx: Tx,
    verification_id: UUID,
    *,
    status: Status,
    tries: int,
    token: bytes | None,
    life: timedelta | None = None,
) -> datetime:
    """Write what became of a verification; ``life`` is that of a token it has just got."""
    expires_at: datetime = await tx.fetchval(
        _JUDGED, verification_id, status.value, tries, token, life
    )
    return expires_at


async def pending(tx: Tx, portal_id: UserId) -> list[Pending]:
    """What waits for the user behind a user-admin account, newest first."""
    return [
        Pending(
            id=VerificationId(row["id"]),
            operation=Operation(row["operation"]),
            shown=msgspec.json.decode(row["shown"]),
            status=row["status"],
            created_at=row["created_at"],
            expires_at=row["expires_at"],
        )
        for row in await tx.fetch(_PENDING, portal_id)
    ]


async def owner(tx: Tx, account_id: UserId) -> UserId | None:
    """The user whose account this is."""
    user_id: UserId | None = await tx.fetchval(_OWNER, account_id)
    return user_id


async def spend(tx: Tx, spendings: Sequence[Spending]) -> dict[UUID, bool]:
    """Mark tokens as used, and answer for each attempt that had the right one if it was in time."""
    rows = await tx.fetch(
        _SPEND,
        [spending.token for spending in spendings],
        [spending.account_id for spending in spendings],
        [spending.operation.value for spending in spendings],
        [parameters_digest(spending.operation, spending.parameters) for spending in spendings],
        [spending.used_by for spending in spendings],
    )
    return {row["used_by"]: row["is_alive"] for row in rows}


async def ends(tx: Tx, tokens: Sequence[bytes]) -> dict[bytes, tuple[UserId, Status]]:
    """Whose tokens these are, and what became of their verifications."""
    return {
        row["token_digest"]: (UserId(row["account_id"]), Status(row["status"]))
        for row in await tx.fetch(_ENDS, list(tokens))
    }


async def give_back(tx: Tx, attempts: Sequence[UUID]) -> None:
    """Let tokens be spent again that these attempts spent."""
    await tx.execute(_GIVE_BACK, list(attempts))


async def end_open(tx: Tx, user_id: UserId) -> list[VerificationId]:
    """Cancel whatever a user has begun, tokens included; answer which."""
    return [VerificationId(row["id"]) for row in await tx.fetch(_END_OPEN, user_id)]


async def expire(tx: Tx) -> int:
    """Mark what nobody completed in time."""
    return rows_done(await tx.execute(_EXPIRE))


async def forget(tx: Tx, *, after: timedelta) -> int:
    """Delete what ended longer ago."""
    return rows_done(await tx.execute(_FORGET, after))


def _standing(row: Row) -> Standing:
    return Standing(
        user_id=UserId(row["user_id"]),
        account_id=UserId(row["account_id"]),
        operation=Operation(row["operation"]),
        status=Status(row["status"]),
        tries=row["tries"],
        token_digest=row["token_digest"],
        expires_at=row["expires_at"],
    )
