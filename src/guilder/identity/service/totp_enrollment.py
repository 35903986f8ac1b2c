"""A user adds an authenticator app, confirms it, removes it, and gets new recovery codes.

Whatever changes here ends the user's other sessions: they were proved by less, or by more.
"""

from __future__ import annotations

import os
from base64 import b32encode
from datetime import timedelta
from typing import Final
from urllib.parse import quote, urlencode

from guilder.identity.api.second_factors import (
    AlreadyEnrolled,
    Asker,
    Enrollment,
    Factor,
    FactorsView,
    InvalidOtp,
    NoSecondFactor,
    NotEnrolling,
)
from guilder.identity.api.sessions import EndReason
from guilder.identity.domain import totp
from guilder.identity.events import (
    RecoveryCodesReplaced,
    SecondFactorAdded,
    SecondFactorRemoved,
)
from guilder.identity.service.second_factor_codes import (
    SecondFactorCodes,
    Verdict,
    give_first_codes,
    new_recovery_codes,
    take_last_codes,
)
from guilder.identity.service.sessions import Sessions
from guilder.identity.service.step_up import StepUp
from guilder.identity.store import second_factors
from guilder.identity.store.users import UserStore, database_time
from guilder.kernel.errors import Unauthenticated
from guilder.kernel.ids import UserId
from guilder.platform.db import Database, Tx
from guilder.platform.once import run_once
from guilder.platform.outbox import append, outgoing

CONFIRM_WITHIN: Final = timedelta(minutes=15)
_ISSUER: Final = "Guilder"


class TotpEnrollment:
    """Authenticator apps of users, one each."""

    def __init__(
        self,
        *,
        db: Database,
        users: UserStore,
        sessions: Sessions,
        codes: SecondFactorCodes,
        step_up: StepUp,
    ) -> None:
        self._db = db
        self._users = users
        self._sessions = sessions
        self._codes = codes
        self._step_up = step_up

    async def factors(self, asker: Asker) -> FactorsView:
        """Which second factors the user has."""
        return await self._db.run(lambda tx: second_factors.factors(tx, asker.user_id))

    async def enroll(self, asker: Asker) -> Enrollment:
        """A new secret, to be confirmed within fifteen minutes; one before it is forgotten.

        Raises:
            StepUpRequired: the session began too long ago and has not proved itself since.
            AlreadyEnrolled: the user has an app.
            Unauthenticated: there is no such account any more.
        """
        secret = os.urandom(totp.SECRET_BYTES)
        sealed = self._codes.sealed(secret, user_id=asker.user_id)

        async def work(tx: Tx) -> Enrollment:
            await second_factors.lock(tx, asker.user_id)
            await self._step_up.require_recent(tx, asker)
            account = await self._users.account(tx, asker.account_id)
            if account is None:
                raise Unauthenticated
            confirm_by = await second_factors.begin_totp(
                tx, asker.user_id, sealed_secret=sealed, within=CONFIRM_WITHIN
            )
            if confirm_by is None:
                raise AlreadyEnrolled
            spelled = b32encode(secret).decode("ascii")
            return Enrollment(
                secret=spelled, uri=_uri(spelled, name=account.email), expires_at=confirm_by
            )

        return await self._db.run(work)

    async def confirm(self, asker: Asker, *, otp: str) -> tuple[str, ...] | None:
        """Signing in asks for the app from now on. Recovery codes, if the user had none.

        Raises:
            NotEnrolling: nothing was begun, or too long ago.
            AlreadyEnrolled: it was confirmed before.
            InvalidOtp: this is not the app's code.
        """
        fresh = new_recovery_codes(asker.user_id)

        async def work(tx: Tx) -> tuple[str, ...] | None:
            await second_factors.lock(tx, asker.user_id)
            step = await self._confirmed_step(tx, asker.user_id, otp=otp)
            added_at = await second_factors.confirm_totp(tx, asker.user_id, step=step)
            given = await give_first_codes(tx, asker.user_id, fresh)
            event = SecondFactorAdded(
                user_id=asker.user_id, factor=Factor.TOTP.value, added_at=added_at
            )
            await append(tx, [outgoing(event, key=str(asker.user_id))])
            await self._end_others(tx, asker)
            return fresh.texts if given else None

        return await run_once(self._db, work)

    async def disable(self, asker: Asker, *, otp: str | None) -> None:
        """Signing in asks for the app no more. It takes a code, or a step-up by a factor.

        Raises:
            NoSecondFactor: the user has no app.
            InvalidOtp: the code is wrong, or was used.
            TooManyCodes: too many were wrong before.
            StepUpRequired: there is no code, and no factor was proved just now.
        """

        async def work(tx: Tx) -> Verdict | None:
            await second_factors.lock(tx, asker.user_id)
            if (await second_factors.factors(tx, asker.user_id)).totp_since is None:
                raise NoSecondFactor
            refused = await self._step_up.require_factor(tx, asker, otp=otp)
            if refused is not None:
                return refused
            await second_factors.remove_totp(tx, asker.user_id)
            await take_last_codes(tx, asker.user_id)
            await publish_removal(tx, asker.user_id, factor=Factor.TOTP)
            await self._end_others(tx, asker)
            return None

        refused = await run_once(self._db, work)
        if refused is not None:
            refused.or_refuse()

    async def replace_recovery_codes(self, asker: Asker, *, otp: str | None) -> tuple[str, ...]:
        """New recovery codes instead of all that there were.

        Raises:
            NoSecondFactor: the user has none for which they could stand in.
            InvalidOtp: the code is wrong, or was used.
            TooManyCodes: too many were wrong before.
            StepUpRequired: there is no code, and no factor was proved just now.
        """
        fresh = new_recovery_codes(asker.user_id)

        async def work(tx: Tx) -> Verdict | None:
            await second_factors.lock(tx, asker.user_id)
            if not (await second_factors.factors(tx, asker.user_id)).is_enrolled:
                raise NoSecondFactor
            refused = await self._step_up.require_factor(tx, asker, otp=otp)
            if refused is not None:
                return refused
            await second_factors.replace_recovery_codes(tx, asker.user_id, digests=fresh.digests)
            event = RecoveryCodesReplaced(
                user_id=asker.user_id, replaced_at=await database_time(tx)
            )
            await append(tx, [outgoing(event, key=str(asker.user_id))])
            return None

        refused = await run_once(self._db, work)
        if refused is not None:
            refused.or_refuse()
        return fresh.texts

    async def _confirmed_step(self, tx: Tx, user_id: UserId, *, otp: str) -> int:
        app = await second_factors.totp(tx, user_id)
        if app is not None and app.confirmed_at is not None:
            raise AlreadyEnrolled
        if app is None or app.confirm_by <= app.now:
            raise NotEnrolling
        step = self._codes.matching_step(app, user_id=user_id, text=otp)
        if step is None:
            raise InvalidOtp
        return step

    async def _end_others(self, tx: Tx, asker: Asker) -> None:
        await self._sessions.end(
            tx, user_id=asker.user_id, keep=asker.session_id, reason=EndReason.FACTORS_CHANGED
        )


async def publish_removal(tx: Tx, user_id: UserId, *, factor: Factor) -> None:
    """Tell that a user has a factor less."""
    event = SecondFactorRemoved(
        user_id=user_id, factor=factor.value, removed_at=await database_time(tx)
    )
    await append(tx, [outgoing(event, key=str(user_id))])


def _uri(secret: str, *, name: str) -> str:
    """What authenticator apps read from a QR code."""
    options = urlencode(
        {
            "secret": secret,
            "issuer": _ISSUER,
            "algorithm": "SHA1",
            "digits": totp.DIGITS,
            "period": int(totp.STEP.total_seconds()),
        },
        quote_via=quote,
    )
    return f"otpauth://totp/{_ISSUER}:{quote(name, safe='')}?{options}"
