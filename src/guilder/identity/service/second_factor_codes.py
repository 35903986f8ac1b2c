"""Judges the codes that people type: TOTP and recovery codes, each good once.

A verdict is returned, not raised, so that what a wrong code costs is committed with it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from uuid import UUID

from guilder.identity.api.second_factors import InvalidOtp, TooManyCodes
from guilder.identity.domain import recovery_codes, totp
from guilder.identity.events import (
    RecoveryCodeUsed,
    SecondFactorGuessed,
)
from guilder.identity.store import second_factors
from guilder.identity.store.second_factors import TotpRow
from guilder.identity.store.users import database_time
from guilder.kernel.ids import UserId
from guilder.kernel.invariant import InvariantViolation
from guilder.platform.db import Tx
from guilder.platform.envelopes import OuterKeys, place
from guilder.platform.outbox import append, outgoing


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a code was right; and if none is looked at now, for how long."""

    is_right: bool
    wait_s: int = 0

    def or_refuse(self) -> None:
        """Go on if it was right.

        Raises:
            TooManyCodes: it was not looked at.
            InvalidOtp: it was wrong.
        """
        if self.wait_s:
            raise TooManyCodes(retry_after_s=self.wait_s)
        if not self.is_right:
            raise InvalidOtp


_RIGHT = Verdict(is_right=True)
_WRONG = Verdict(is_right=False)


class SecondFactorCodes:
    """Knows the secrets of authenticator apps, which ``keys`` encrypt."""

    def __init__(self, *, keys: OuterKeys) -> None:
        self._keys = keys

    async def judge(self, tx: Tx, *, user_id: UserId, text: str) -> Verdict:
        """Use up the code in ``text``, in the caller's transaction, which is to be committed.

        From then on the user's factors are locked until the transaction ends.
        """
        await second_factors.lock(tx, user_id)
        recovery_code = recovery_codes.read_recovery_code(text)
        if recovery_code is not None:
            return await self._use_recovery_code(tx, user_id, recovery_code)
        app = await second_factors.totp(tx, user_id)
        if app is None or app.confirmed_at is None:
            return _WRONG
        if app.wait_s:
            return Verdict(is_right=False, wait_s=app.wait_s)
        step = self.matching_step(app, user_id=user_id, text=text)
        if step is None:
            await _count(tx, user_id, failures=app.failures + 1)
            return _WRONG
        await second_factors.accept_step(tx, user_id, step=step)
        return _RIGHT

    def sealed(self, secret: bytes, *, user_id: UserId) -> bytes:
        """An app's secret as it may be stored."""
        return self._keys.wrap(secret, at=_secret_place(user_id))

    def resealed(self, sealed: bytes, *, user_id: UserId) -> bytes:
        """The same secret, sealed by the newest key."""
        return self.sealed(self._keys.unwrap(sealed, at=_secret_place(user_id)), user_id=user_id)

    def matching_step(self, app: TotpRow, *, user_id: UserId, text: str) -> int | None:
        """The step of the code in ``text``, if it is one of ``app`` that may be used now."""
        typed = totp.read_code(text)
        if typed is None:
            return None
        secret = self._keys.unwrap(app.sealed_secret, at=_secret_place(user_id))
        return totp.matching_step(typed, secret=secret, moment=app.now, after=app.last_step)

    async def _use_recovery_code(self, tx: Tx, user_id: UserId, typed: str) -> Verdict:
        digest = recovery_codes.digest(typed, user_id=user_id)
        if not await second_factors.use_recovery_code(tx, user_id, digest=digest):
            return _WRONG
        await second_factors.forgive(tx, user_id)
        left = (await second_factors.factors(tx, user_id)).recovery_codes_left
        event = RecoveryCodeUsed(user_id=user_id, left=left, used_at=await database_time(tx))
        await append(tx, [outgoing(event, key=str(user_id))])
        return _RIGHT


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryCodes:
    """A fresh set: ``texts`` for the user, once, and ``digests`` for the database."""

    texts: tuple[str, ...]
    digests: tuple[bytes, ...]


def new_recovery_codes(user_id: UserId) -> RecoveryCodes:
    """A set that nobody has seen."""
    texts = tuple(
        recovery_codes.spelled(os.urandom(recovery_codes.CODE_BYTES))
        for _ in range(recovery_codes.HOW_MANY)
    )
    return RecoveryCodes(
        texts=texts, digests=tuple(_digest_of(text, user_id=user_id) for text in texts)
    )


async def give_first_codes(tx: Tx, user_id: UserId, codes: RecoveryCodes) -> bool:
    """Whether the user has got ``codes``; False: they have some that are not used."""
    if (await second_factors.factors(tx, user_id)).recovery_codes_left:
        return False
    await second_factors.replace_recovery_codes(tx, user_id, digests=codes.digests)
    return True


async def take_last_codes(tx: Tx, user_id: UserId) -> None:
    """Recovery codes stand in for factors: without any, they go too."""
    if not (await second_factors.factors(tx, user_id)).is_enrolled:
        await second_factors.replace_recovery_codes(tx, user_id, digests=())


async def _count(tx: Tx, user_id: UserId, *, failures: int) -> None:
    wait = totp.wait_after(failures)
    blocked_until = await second_factors.count_failure(tx, user_id, wait=wait)
    if failures != totp.FREE_FAILURES + 1:
        return
    event = SecondFactorGuessed(user_id=user_id, failures=failures, blocked_until=blocked_until)
    await append(tx, [outgoing(event, key=str(user_id))])


def _digest_of(text: str, *, user_id: UUID) -> bytes:
    typed = recovery_codes.read_recovery_code(text)
    if typed is None:
        raise InvariantViolation("a recovery code is read as it was spelled")
    return recovery_codes.digest(typed, user_id=user_id)


def _secret_place(user_id: UserId) -> bytes:
    return place("identity.totp", column="sealed_secret", row=user_id)
