"""SQL of sessions and their refresh tokens. Sessions are locked before they are judged."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from guilder.identity.api import AccountType
from guilder.identity.api.sessions import EndReason, SessionView
from guilder.identity.domain.sessions import Shown
from guilder.kernel.ids import SessionId, UserId
from guilder.platform.db import Row, Tx, rows_done

# Waits for whoever ends this user's sessions, and makes them wait for the session to be there.
_HOLD_USER: Final = """
    SELECT status, sign_in_epoch FROM identity.users WHERE id = $1 FOR SHARE
"""
_BUMP: Final = """
    UPDATE identity.users SET sign_in_epoch = sign_in_epoch + 1 WHERE id = $1
    RETURNING status
"""
_ADD_SESSION: Final = """
    INSERT INTO identity.sessions (
        id, account_id, user_agent, client_address, methods, started_at, last_used_at, expires_at
    )
    VALUES ($1, $2, $3, $4, $5, $6, $6, $7)
    ON CONFLICT DO NOTHING
    RETURNING id
"""
_ADD_REFRESH: Final = """
    INSERT INTO identity.refresh_tokens (digest, session_id, issued_at, expires_at)
    VALUES ($1, $2, $3, $4)
    ON CONFLICT DO NOTHING
"""
_LOCK_SHOWN: Final = """
    SELECT s.id FROM identity.sessions s
    JOIN identity.refresh_tokens t ON t.session_id = s.id
    WHERE t.digest = $1
    FOR UPDATE OF s
"""
_SHOWN: Final = """
    SELECT s.id, s.account_id, a.user_id, s.methods, s.started_at, s.expires_at AS session_ends,
        s.ended_at IS NOT NULL AS has_ended, t.expires_at, t.used_at, t.successor_salt,
        n.used_at IS NOT NULL AS successor_is_used, clock_timestamp() AS at
    FROM identity.refresh_tokens t
    JOIN identity.sessions s ON s.id = t.session_id
    JOIN identity.accounts a ON a.id = s.account_id
    LEFT JOIN identity.refresh_tokens n ON n.digest = t.successor_digest
    WHERE t.digest = $1
"""
_SPEND: Final = """
    UPDATE identity.refresh_tokens
    SET used_at = $2, successor_salt = $3, successor_digest = $4
    WHERE digest = $1
"""
_USE_SESSION: Final = """
    UPDATE identity.sessions
    SET last_used_at = $2, expires_at = $3, user_agent = $4, client_address = $5
    WHERE id = $1
"""
_LIVE: Final = "s.ended_at IS NULL AND s.expires_at > clock_timestamp()"
_IS_LIVE: Final = f"SELECT EXISTS (SELECT FROM identity.sessions s WHERE s.id = $1 AND {_LIVE})"
_LOCK_ONE: Final = """
    SELECT s.id FROM identity.sessions s JOIN identity.accounts a ON a.id = s.account_id
    WHERE s.id = $1 AND a.user_id = $2
    FOR UPDATE OF s
"""
_LOCK_ALL: Final = f"""
    SELECT s.id FROM identity.sessions s JOIN identity.accounts a ON a.id = s.account_id
    WHERE a.user_id = $1 AND s.id IS DISTINCT FROM $2 AND {_LIVE}
    ORDER BY s.id
    FOR UPDATE OF s
"""
_END: Final = """
    UPDATE identity.sessions SET ended_at = clock_timestamp(), end_reason = $2
    WHERE id = ANY($1::uuid[]) AND ended_at IS NULL
    RETURNING id
"""
_LIST: Final = f"""
    SELECT s.id, a.type, s.user_agent, s.client_address, s.methods, s.started_at,
        coalesce(s.last_used_at, s.started_at) AS last_used_at, s.expires_at
    FROM identity.sessions s JOIN identity.accounts a ON a.id = s.account_id
    WHERE a.user_id = $1 AND {_LIVE} AND ($2::uuid IS NULL OR s.id < $2)
    ORDER BY s.id DESC
    LIMIT $3
"""
_FORGET: Final = """
    DELETE FROM identity.sessions WHERE account_id IN (
        SELECT id FROM identity.accounts WHERE user_id = $1
    )
"""
_PURGE_SESSIONS: Final = """
    DELETE FROM identity.sessions WHERE id IN (
        SELECT id FROM identity.sessions
        WHERE coalesce(ended_at, expires_at) < statement_timestamp() - make_interval(secs => $1)
            AND expires_at < statement_timestamp()
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    )
"""
_PURGE_REFRESH: Final = """
    DELETE FROM identity.refresh_tokens WHERE digest IN (
        SELECT digest FROM identity.refresh_tokens WHERE expires_at < statement_timestamp()
        LIMIT $1
        FOR UPDATE SKIP LOCKED
    )
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """A session about to be written, with its first refresh token's digest."""

    id: SessionId
    account_id: UserId
    user_agent: str | None
    client_address: str
    methods: tuple[str, ...]
    refresh_digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What decides whether a user's sign-in may end in a session."""

    status: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownToken:
    """A refresh token with its locked session, and the time after the lock."""

    session_id: SessionId
    account_id: UserId
    user_id: UserId
    started_at: datetime
    session_ends: datetime
    salt: bytes | None
    shown: Shown
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One use of a session, from where."""

    at: datetime
    expires_at: datetime
    user_agent: str | None
    client_address: str


async def hold_user(tx: Tx, user_id: UserId) -> Standing | None:
    """The user, kept as they are until the transaction ends."""
    row = await tx.fetchrow(_HOLD_USER, user_id)
    return None if row is None else Standing(status=row["status"], epoch=row["sign_in_epoch"])


async def void_sign_ins(tx: Tx, user_id: UserId) -> str | None:
    """Lock the user; sign-ins whose password was checked before this open no session.

    The user's status under the lock; None when there is no such user.
    """
    status: str | None = await tx.fetchval(_BUMP, user_id)
    return status


async def is_live(tx: Tx, session_id: SessionId) -> bool:
    """Whether a session goes on."""
    return bool(await tx.fetchval(_IS_LIVE, session_id))


async def add_session(
    tx: Tx, session: NewSession, *, started_at: datetime, expires_at: datetime
) -> bool:
    """Whether the session was written; False when it is there already."""
    added = await tx.fetchval(
        _ADD_SESSION,
        session.id,
        session.account_id,
        session.user_agent,
        session.client_address,
        list(session.methods),
        started_at,
        expires_at,
    )
    if added is None:
        return False
    await tx.execute(_ADD_REFRESH, session.refresh_digest, session.id, started_at, expires_at)
    return True


async def shown_token(tx: Tx, digest: bytes) -> ShownToken | None:
    """The refresh token with this digest; its session is locked from now on."""
    if await tx.fetchval(_LOCK_SHOWN, digest) is None:
        return None
    row = await tx.fetchrow(_SHOWN, digest)
    return None if row is None else _shown(row)


async def rotate(
    tx: Tx, *, digest: bytes, salt: bytes, successor: bytes, session_id: SessionId, use: Use
) -> None:
    """The token is used, the one with the digest ``successor`` follows it."""
    await tx.execute(_SPEND, digest, use.at, salt, successor)
    await tx.execute(_ADD_REFRESH, successor, session_id, use.at, use.expires_at)
    await tx.execute(
        _USE_SESSION, session_id, use.at, use.expires_at, use.user_agent, use.client_address
    )


async def lock_one(tx: Tx, *, session_id: SessionId, user_id: UserId) -> bool:
    """Whether the user has or had this session; it is locked then."""
    return await tx.fetchval(_LOCK_ONE, session_id, user_id) is not None


async def lock_all(tx: Tx, *, user_id: UserId, keep: SessionId | None) -> list[SessionId]:
    """The user's sessions that go on, but for ``keep``; they are locked, in order."""
    return [SessionId(row["id"]) for row in await tx.fetch(_LOCK_ALL, user_id, keep)]


async def end(tx: Tx, session_ids: Collection[SessionId], *, reason: EndReason) -> list[SessionId]:
    """Mark locked sessions as ended; those that were not."""
    rows = await tx.fetch(_END, list(session_ids), reason.value)
    return [SessionId(row["id"]) for row in rows]


async def live(
    tx: Tx, *, user_id: UserId, after: SessionId | None, limit: int
) -> Sequence[SessionView]:
    """The user's sessions that go on, newest first, after the one in ``after``."""
    return [_view(row) for row in await tx.fetch(_LIST, user_id, after, limit)]


async def forget(tx: Tx, user_id: UserId) -> None:
    """Delete every trace of the user's sessions."""
    await tx.execute(_FORGET, user_id)


async def purge(tx: Tx, *, kept_s: float, limit: int) -> int:
    """Delete some sessions that are over since ``kept_s``, some tokens that are; how many."""
    sessions = rows_done(await tx.execute(_PURGE_SESSIONS, kept_s, limit))
    return sessions + rows_done(await tx.execute(_PURGE_REFRESH, limit))


def _shown(row: Row) -> ShownToken:
    return ShownToken(
        session_id=SessionId(row["id"]),
        account_id=UserId(row["account_id"]),
        user_id=UserId(row["user_id"]),
        started_at=row["started_at"],
        session_ends=row["session_ends"],
        salt=row["successor_salt"],
        shown=Shown(
            has_ended=row["has_ended"] or row["session_ends"] <= row["at"],
            expires_at=row["expires_at"],
            used_at=row["used_at"],
            successor_is_used=row["successor_is_used"],
        ),
        at=row["at"],
    )


def _view(row: Row) -> SessionView:
    return SessionView(
        id=SessionId(row["id"]),
        account_type=AccountType(row["type"]),
        user_agent=row["user_agent"],
        client_address=row["client_address"],
        methods=tuple(row["methods"]),
        started_at=row["started_at"],
        last_used_at=row["last_used_at"],
        expires_at=row["expires_at"],
    )
