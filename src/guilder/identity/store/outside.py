"""SQL of sign-in with outside providers: sign-ins that are under way, and who is linked to whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from guilder.identity.api.outside import LinkView
from guilder.kernel.ids import SessionId, UserId
from guilder.platform.db import Tx, rows_done

_BEGIN: Final = """
    INSERT INTO identity.outside_flows
        (state_digest, browser_digest, provider, link_user_id, link_session_id, expires_at)
    VALUES ($1, $2, $3, $4, $5, clock_timestamp() + $6::interval)
    ON CONFLICT DO NOTHING
"""
# Whether it was in time is judged once the row is ours, and not before we waited for it.
_TAKE: Final = """
    DELETE FROM identity.outside_flows
    WHERE state_digest = $1 AND browser_digest = $2 AND provider = $3
    RETURNING link_user_id, link_session_id, expires_at > clock_timestamp() AS is_in_time
"""
_PURGE: Final = "DELETE FROM identity.outside_flows WHERE expires_at < statement_timestamp()"
_LINKED: Final = """
    SELECT user_id, linked_by FROM identity.outside_identities
    WHERE provider = $1 AND subject_key = $2
"""
_LINK: Final = """
    INSERT INTO identity.outside_identities (provider, subject_key, user_id, linked_by)
    VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING linked_at
"""
_USED: Final = """
    UPDATE identity.outside_identities SET last_used_at = clock_timestamp()
    WHERE provider = $1 AND subject_key = $2
"""
_OF_USER: Final = """
    SELECT provider, linked_by, linked_at, last_used_at FROM identity.outside_identities
    WHERE user_id = $1 ORDER BY provider
"""
_UNLINK: Final = """
    DELETE FROM identity.outside_identities WHERE user_id = $1 AND provider = $2
"""
_UNLINK_ALL: Final = "DELETE FROM identity.outside_identities WHERE user_id = $1"
_END_FLOWS_OF: Final = "DELETE FROM identity.outside_flows WHERE link_user_id = $1"
_HOLD_USER: Final = """
    SELECT email_verified_at IS NOT NULL AS email_is_verified, status
    FROM identity.users WHERE id = $1 FOR SHARE
"""
_NOW: Final = "SELECT clock_timestamp()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A sign-in that came back; the user whom it is to be linked to, and their session."""

    link_user_id: UserId | None
    link_session_id: SessionId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A sign-in that begins in some browser; to be linked to a user, or to sign in."""

    state_digest: bytes = field(repr=False)
    browser_digest: bytes = field(repr=False)
    provider: str
    link_user_id: UserId | None
    link_session_id: SessionId | None


async def begin(tx: Tx, flow: Flow, *, life: timedelta) -> None:
    """Write a sign-in that begins."""
    await tx.execute(
        _BEGIN,
        flow.state_digest,
        flow.browser_digest,
        flow.provider,
        flow.link_user_id,
        flow.link_session_id,
        life,
    )


async def take(
    tx: Tx, *, state_digest: bytes, browser_digest: bytes, provider: str
) -> Taken | None:
    """End a sign-in that is under way in this very browser; None when there is none, or too late.

    One of those who ask at once gets it.
    """
    row = await tx.fetchrow(_TAKE, state_digest, browser_digest, provider)
    if row is None or not row["is_in_time"]:
        return None
    user_id, session_id = row["link_user_id"], row["link_session_id"]
    return Taken(
        link_user_id=None if user_id is None else UserId(user_id),
        link_session_id=None if session_id is None else SessionId(session_id),
    )


async def purge(tx: Tx) -> int:
    """Delete sign-ins that nobody came back from in time; how many."""
    return rows_done(await tx.execute(_PURGE))


async def linked(tx: Tx, *, provider: str, subject_key: UUID) -> tuple[UserId, str] | None:
    """Who is linked to a person of a provider, and by what."""
    row = await tx.fetchrow(_LINKED, provider, subject_key)
    return None if row is None else (UserId(row["user_id"]), row["linked_by"])


async def link(
    tx: Tx, *, provider: str, subject_key: UUID, user_id: UserId, linked_by: str
) -> datetime | None:
    """When the user was linked just now; None when either side is linked already."""
    linked_at: datetime | None = await tx.fetchval(_LINK, provider, subject_key, user_id, linked_by)
    return linked_at


async def mark_used(tx: Tx, *, provider: str, subject_key: UUID) -> None:
    """Note that somebody signs in by a link."""
    await tx.execute(_USED, provider, subject_key)


async def of_user(tx: Tx, user_id: UserId) -> Sequence[LinkView]:
    """What a user is linked to."""
    return [
        LinkView(
            provider=row["provider"],
            linked_by=row["linked_by"],
            linked_at=row["linked_at"],
            last_used_at=row["last_used_at"],
        )
        for row in await tx.fetch(_OF_USER, user_id)
    ]


async def unlink(tx: Tx, *, user_id: UserId, provider: str) -> bool:
    """Whether there was such a link to delete."""
    return rows_done(await tx.execute(_UNLINK, user_id, provider)) > 0


async def forget(tx: Tx, user_id: UserId) -> None:
    """Delete every link of a user, and those that are being made."""
    await tx.execute(_UNLINK_ALL, user_id)
    await tx.execute(_END_FLOWS_OF, user_id)


async def has_verified_email(tx: Tx, user_id: UserId) -> bool:
    """Whether a user has proved to have their email, and keeps it until the commit."""
    row = await tx.fetchrow(_HOLD_USER, user_id)
    return row is not None and bool(row["email_is_verified"])


async def database_time(tx: Tx) -> datetime:
    """The server's time at this moment."""
    moment: datetime = await tx.fetchval(_NOW)
    return moment
