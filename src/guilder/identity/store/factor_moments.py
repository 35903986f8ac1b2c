"""SQL of what lasts minutes: challenges of sign-ins, passkey ceremonies, proofs of sessions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from guilder.identity.api import AccountView
from guilder.kernel.ids import SessionId, UserId
from guilder.platform.db import Tx, rows_done

_ADD_CHALLENGE: Final = """
    INSERT INTO identity.sign_in_challenges (
        digest, account_id, sign_in_epoch, methods, network, expires_at
    )
    VALUES ($1, $2, $3, $4, $5, clock_timestamp() + $6)
    ON CONFLICT (digest) DO UPDATE SET tries = sign_in_challenges.tries
    RETURNING expires_at
"""
# Locked first, judged in a statement of its own, so that what waited sees what it waited for.
_LOCK_CHALLENGE: Final = """
    SELECT true FROM identity.sign_in_challenges WHERE digest = $1 FOR UPDATE
"""
_CHALLENGE: Final = """
    SELECT account_id, sign_in_epoch, methods, network, tries, completed_at,
        expires_at > clock_timestamp() AS is_open
    FROM identity.sign_in_challenges WHERE digest = $1
"""
_COUNT_TRY: Final = "UPDATE identity.sign_in_challenges SET tries = tries + 1 WHERE digest = $1"
_COMPLETE: Final = """
    UPDATE identity.sign_in_challenges SET completed_at = clock_timestamp() WHERE digest = $1
"""
_ADD_CEREMONY: Final = """
    INSERT INTO identity.passkey_ceremonies (digest, purpose, session_id, expires_at)
    VALUES ($1, $2, $3, clock_timestamp() + $4)
    ON CONFLICT DO NOTHING
"""
_LOCK_CEREMONY: Final = """
    SELECT true FROM identity.passkey_ceremonies WHERE digest = $1 FOR UPDATE
"""
_USE_CEREMONY: Final = """
    UPDATE identity.passkey_ceremonies SET used_at = clock_timestamp()
    WHERE digest = $1 AND purpose = $2 AND session_id IS NOT DISTINCT FROM $3
        AND used_at IS NULL AND expires_at > clock_timestamp()
"""
_SESSION_AGE: Final = """
    SELECT started_at > clock_timestamp() - $2::interval AND methods && $3::text[]
    FROM identity.sessions WHERE id = $1
"""
_PROOF: Final = """
    SELECT by_factor, failures, blocked_until,
        coalesce(proved_at > clock_timestamp() - $2::interval, false) AS is_fresh,
        clock_timestamp() AS now
    FROM identity.step_ups WHERE session_id = $1
"""
_LOCK_PROOF: Final = """
    INSERT INTO identity.step_ups (session_id, touched_at) VALUES ($1, clock_timestamp())
    ON CONFLICT (session_id) DO UPDATE SET touched_at = excluded.touched_at
"""
_PROVE: Final = """
    UPDATE identity.step_ups
    SET proved_at = clock_timestamp(), by_factor = $2, failures = 0, blocked_until = NULL
    WHERE session_id = $1
    RETURNING proved_at
"""
_FAIL: Final = """
    UPDATE identity.step_ups
    SET failures = failures + 1, blocked_until = clock_timestamp() + $2
    WHERE session_id = $1
"""
_PASSWORD: Final = "SELECT password_hash FROM identity.users WHERE id = $1"  # noqa: S105 - SQL, not a password
_CLEAR: Final = tuple(
    f"""
    DELETE FROM identity.{table} WHERE ctid IN (
        SELECT ctid FROM identity.{table} WHERE {column} < statement_timestamp() - interval '1 day'
        LIMIT $1
    )
    """
    for table, column in (
        ("sign_in_challenges", "expires_at"),
        ("passkey_ceremonies", "expires_at"),
        ("step_ups", "touched_at"),
        ("factor_attempts", "done_at"),  # of earlier versions: `guilder.platform.once` keeps marks
    )
)
_CLEAR_UNCONFIRMED: Final = """
    DELETE FROM identity.totp
    WHERE confirmed_at IS NULL AND confirm_by < statement_timestamp() - interval '1 day'
"""


class Purpose(StrEnum):
    """What a passkey is asked for."""

    REGISTER = "register"
    SIGN_IN = "sign_in"
    STEP_UP = "step_up"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengeRow:
    """A sign-in that waits for a second factor."""

    account_id: UserId
    sign_in_epoch: int
    methods: tuple[str, ...]
    network: str
    tries: int
    completed_at: datetime | None
    is_open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofRow:
    """How a session has proved itself again lately, and how often it failed to."""

    by_factor: bool
    failures: int
    blocked_until: datetime | None
    is_fresh: bool
    now: datetime

    @property
    def wait_s(self) -> int:
        """Whole seconds until the next password is looked at; 0: now."""
        if self.blocked_until is None or self.blocked_until <= self.now:
            return 0
        return int((self.blocked_until - self.now).total_seconds()) + 1


async def add_challenge(
    tx: Tx,
    *,
    digest: bytes,
    account: AccountView,
    methods: Sequence[str],
    network: str,
    life: timedelta,
) -> datetime:
    """When it ends. Writing it twice is writing it once."""
    expires_at: datetime = await tx.fetchval(
        _ADD_CHALLENGE,
        digest,
        account.id,
        account.sign_in_epoch,
        list(methods),
        network,
        life,
    )
    return expires_at


async def lock_challenge(tx: Tx, digest: bytes) -> ChallengeRow | None:
    """The challenge as it is once nobody else is at it."""
    await tx.execute(_LOCK_CHALLENGE, digest)
    row = await tx.fetchrow(_CHALLENGE, digest)
    if row is None:
        return None
    return ChallengeRow(**{**row, "methods": tuple(row["methods"])})


async def count_try(tx: Tx, digest: bytes) -> None:
    """One more wrong answer to a challenge."""
    await tx.execute(_COUNT_TRY, digest)


async def complete_challenge(tx: Tx, digest: bytes) -> None:
    """It was answered and cannot be again."""
    await tx.execute(_COMPLETE, digest)


async def add_ceremony(
    tx: Tx, *, digest: bytes, purpose: Purpose, session_id: SessionId | None, life: timedelta
) -> None:
    """A challenge was handed to a browser. Writing it twice is writing it once."""
    await tx.execute(_ADD_CEREMONY, digest, purpose.value, session_id, life)


async def use_ceremony(
    tx: Tx, *, digest: bytes, purpose: Purpose, session_id: SessionId | None
) -> bool:
    """Whether it was handed out for this, to this session, lately, and not used before."""
    await tx.execute(_LOCK_CEREMONY, digest)
    used = await tx.execute(_USE_CEREMONY, digest, purpose.value, session_id)
    return rows_done(used) > 0


async def began_within(tx: Tx, session_id: SessionId, *, age: timedelta, by: Sequence[str]) -> bool:
    """Whether the session began so lately, by one of these methods at least."""
    return bool(await tx.fetchval(_SESSION_AGE, session_id, age, list(by)))


async def proof(tx: Tx, session_id: SessionId, *, age: timedelta) -> ProofRow | None:
    """How the session proved itself; fresh if within ``age``."""
    row = await tx.fetchrow(_PROOF, session_id, age)
    return None if row is None else ProofRow(**row)


async def lock_proof(tx: Tx, session_id: SessionId) -> None:
    """Be the only one who proves this session, until the transaction ends."""
    await tx.execute(_LOCK_PROOF, session_id)


async def prove(tx: Tx, session_id: SessionId, *, by_factor: bool) -> datetime:
    """The session has proved itself at this moment."""
    proved_at: datetime = await tx.fetchval(_PROVE, session_id, by_factor)
    return proved_at


async def count_failed_proof(tx: Tx, session_id: SessionId, *, wait: timedelta) -> None:
    """The session did not, and has to wait."""
    await tx.execute(_FAIL, session_id, wait)


async def password_hash(tx: Tx, user_id: UserId) -> str | None:
    """What the user's password must match."""
    stored: str | None = await tx.fetchval(_PASSWORD, user_id)
    return stored


async def clear(tx: Tx, *, most: int) -> int:
    """Delete what has been over for a day, so many of each; how many there were."""
    cleared = sum([rows_done(await tx.execute(statement, most)) for statement in _CLEAR])
    return cleared + rows_done(await tx.execute(_CLEAR_UNCONFIRMED))
