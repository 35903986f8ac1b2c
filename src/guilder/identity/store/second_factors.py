"""SQL of TOTP secrets and recovery codes, and of what has been done once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from guilder.identity.api.second_factors import FactorsView
from guilder.kernel.ids import UserId
from guilder.platform.db import Tx, rows_done

# Whoever judges or changes a user's factors comes one after the other.
_LOCK: Final = """
    SELECT pg_advisory_xact_lock(hashtextextended('identity.second_factors|' || $1::text, 0))
"""
_FACTORS: Final = """
    SELECT
        (SELECT confirmed_at FROM identity.totp WHERE user_id = $1) AS totp_since,
        (SELECT count(*) FROM identity.passkeys WHERE user_id = $1) AS passkeys,
        (SELECT count(*) FROM identity.recovery_codes WHERE user_id = $1 AND used_at IS NULL)
            AS recovery_codes_left
"""
_TOTP: Final = """
    SELECT sealed_secret, confirm_by, confirmed_at, last_step, failures, blocked_until,
        clock_timestamp() AS now
    FROM identity.totp WHERE user_id = $1
"""
_BEGIN_TOTP: Final = """
    INSERT INTO identity.totp (user_id, sealed_secret, confirm_by)
    VALUES ($1, $2, clock_timestamp() + $3)
    ON CONFLICT (user_id) DO UPDATE
        SET sealed_secret = excluded.sealed_secret, confirm_by = excluded.confirm_by
        WHERE totp.confirmed_at IS NULL
    RETURNING confirm_by
"""
_CONFIRM_TOTP: Final = """
    UPDATE identity.totp SET confirmed_at = clock_timestamp(), last_step = $2 WHERE user_id = $1
    RETURNING confirmed_at
"""
_ACCEPT_STEP: Final = """
    UPDATE identity.totp SET last_step = $2, failures = 0, blocked_until = NULL WHERE user_id = $1
"""
_COUNT_FAILURE: Final = """
    UPDATE identity.totp SET failures = failures + 1, blocked_until = clock_timestamp() + $2
    WHERE user_id = $1
    RETURNING blocked_until
"""
_FORGIVE: Final = """
    UPDATE identity.totp SET failures = 0, blocked_until = NULL WHERE user_id = $1
"""
_REMOVE_TOTP: Final = "DELETE FROM identity.totp WHERE user_id = $1 AND confirmed_at IS NOT NULL"
_REMOVE_CODES: Final = "DELETE FROM identity.recovery_codes WHERE user_id = $1"
_ADD_CODES: Final = """
    INSERT INTO identity.recovery_codes (user_id, digest) SELECT $1, unnest($2::bytea[])
"""
_USE_CODE: Final = """
    UPDATE identity.recovery_codes SET used_at = clock_timestamp()
    WHERE user_id = $1 AND digest = $2 AND used_at IS NULL
"""
# What is sealed names its key: the sixteen bytes after the version.
_SEALED_OTHERWISE: Final = """
    SELECT user_id, sealed_secret FROM identity.totp
    WHERE substring(sealed_secret FROM 2 FOR 16) <> $1::bytea AND user_id > $2
    ORDER BY user_id LIMIT $3
"""
_RESEAL: Final = """
    UPDATE identity.totp SET sealed_secret = $3 WHERE user_id = $1 AND sealed_secret = $2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TotpRow:
    """A user's authenticator app, confirmed or not, and the database's time when it was read."""

    sealed_secret: bytes = field(repr=False)
    confirm_by: datetime
    confirmed_at: datetime | None
    last_step: int
    failures: int
    blocked_until: datetime | None
    now: datetime

    @property
    def wait_s(self) -> int:
        """Whole seconds until a code is looked at again; 0: now."""
        if self.blocked_until is None or self.blocked_until <= self.now:
            return 0
        return int((self.blocked_until - self.now).total_seconds()) + 1


async def lock(tx: Tx, user_id: UserId) -> None:
    """Be the only one who judges or changes this user's factors, until the transaction ends."""
    await tx.execute(_LOCK, str(user_id))


async def factors(tx: Tx, user_id: UserId) -> FactorsView:
    """What the user has."""
    (row,) = await tx.fetch(_FACTORS, user_id)
    return FactorsView(**row)


async def totp(tx: Tx, user_id: UserId) -> TotpRow | None:
    """The user's app, also one that is not confirmed yet."""
    row = await tx.fetchrow(_TOTP, user_id)
    return None if row is None else TotpRow(**row)


async def begin_totp(
    tx: Tx, user_id: UserId, *, sealed_secret: bytes, within: timedelta
) -> datetime | None:
    """Until when it can be confirmed; None if the user has a confirmed one."""
    confirm_by: datetime | None = await tx.fetchval(_BEGIN_TOTP, user_id, sealed_secret, within)
    return confirm_by


async def confirm_totp(tx: Tx, user_id: UserId, *, step: int) -> datetime:
    """Codes of steps after ``step`` count from this moment on."""
    confirmed_at: datetime = await tx.fetchval(_CONFIRM_TOTP, user_id, step)
    return confirmed_at


async def accept_step(tx: Tx, user_id: UserId, *, step: int) -> None:
    """Codes up to ``step`` are used, and what failed before is forgiven."""
    await tx.execute(_ACCEPT_STEP, user_id, step)


async def count_failure(tx: Tx, user_id: UserId, *, wait: timedelta) -> datetime:
    """One more wrong code; when the next is looked at."""
    blocked_until: datetime = await tx.fetchval(_COUNT_FAILURE, user_id, wait)
    return blocked_until


async def forgive(tx: Tx, user_id: UserId) -> None:
    """The user was proved in another way, so the next code is looked at."""
    await tx.execute(_FORGIVE, user_id)


async def remove_totp(tx: Tx, user_id: UserId) -> bool:
    """Whether there was a confirmed one."""
    return rows_done(await tx.execute(_REMOVE_TOTP, user_id)) > 0


async def replace_recovery_codes(tx: Tx, user_id: UserId, *, digests: Sequence[bytes]) -> None:
    """These are the user's codes now; none, if there are none."""
    await tx.execute(_REMOVE_CODES, user_id)
    await tx.execute(_ADD_CODES, user_id, list(digests))


async def use_recovery_code(tx: Tx, user_id: UserId, *, digest: bytes) -> bool:
    """Whether it was one that had not been used."""
    return rows_done(await tx.execute(_USE_CODE, user_id, digest)) > 0


async def sealed_otherwise(
    tx: Tx, *, key_id: UUID, after: UserId, most: int
) -> Sequence[tuple[UserId, bytes]]:
    """Secrets of users after this one that another key than this has sealed."""
    rows = await tx.fetch(_SEALED_OTHERWISE, key_id.bytes, after, most)
    return [(UserId(row["user_id"]), row["sealed_secret"]) for row in rows]


async def reseal(tx: Tx, user_id: UserId, *, before: bytes, sealed: bytes) -> None:
    """The same secret under another key, unless it has become another one."""
    await tx.execute(_RESEAL, user_id, before, sealed)
