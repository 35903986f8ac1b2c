"""A session proves itself again before it may change what protects the account.

Whoever has second factors proves one of them; whoever has none, the password. Adding a factor is
also open to a session that has just begun with either, since signing in was such a proof. A code by
mail or SMS and a provider's word are none: whoever has the phone for a minute has not the password.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from guilder.identity.api.second_factors import (
    Asker,
    NoSecondFactor,
    SteppedUp,
    StepUpRequired,
    TooManyCodes,
)
from guilder.identity.domain import totp
from guilder.identity.domain.applicants import Malformed, read_password
from guilder.identity.service.methods import COUNTING
from guilder.identity.service.passkey_proofs import Ceremony, PasskeyProofs
from guilder.identity.service.passwords import Passwords
from guilder.identity.service.relying_party import Credential
from guilder.identity.service.second_factor_codes import SecondFactorCodes, Verdict
from guilder.identity.store import factor_moments, second_factors
from guilder.identity.store.factor_moments import Purpose
from guilder.kernel.invariant import InvariantViolation
from guilder.platform.db import Database, Tx
from guilder.platform.once import run_once

PROOF_LIFE: Final = timedelta(minutes=5)
SIGN_IN_COUNTS_FOR: Final = timedelta(minutes=10)


class StepUp:
    """Takes proofs of sessions and asks for them."""

    def __init__(
        self,
        *,
        db: Database,
        passwords: Passwords,
        codes: SecondFactorCodes,
        proofs: PasskeyProofs,
    ) -> None:
        self._db = db
        self._passwords = passwords
        self._codes = codes
        self._proofs = proofs

    async def by_password(self, asker: Asker, *, password: str) -> SteppedUp:
        """Prove the session with the user's password, where there is no second factor.

        Raises:
            StepUpRequired: the password is wrong, or does not suffice.
            TooManyCodes: too many were wrong before.
            Overloaded: too many passwords are waiting to be checked.
        """
        stored = await run_once(self._db, lambda tx: _begin_password(tx, asker))
        if not await self._passwords.match(_typed(password), stored=stored):
            raise StepUpRequired("The password is wrong.")
        return await self._db.run(lambda tx: _prove(tx, asker, by_factor=False))

    async def by_code(self, asker: Asker, *, otp: str) -> SteppedUp:
        """Prove the session with a TOTP or a recovery code.

        Raises:
            InvalidOtp: the code is wrong, or was used.
            TooManyCodes: too many were wrong before.
        """

        async def work(tx: Tx) -> SteppedUp | Verdict:
            verdict = await self._codes.judge(tx, user_id=asker.user_id, text=otp)
            if not verdict.is_right:
                return verdict
            return await _prove(tx, asker, by_factor=True)

        outcome = await run_once(self._db, work)
        if isinstance(outcome, Verdict):
            outcome.or_refuse()
            raise InvariantViolation("a right code steps up")
        return outcome

    async def passkey_options(self, asker: Asker) -> Mapping[str, Any]:
        """What the browser asks one of the user's passkeys for.

        Raises:
            NoSecondFactor: the user has none.
        """
        factors = await self._db.run(lambda tx: second_factors.factors(tx, asker.user_id))
        if not factors.passkeys:
            raise NoSecondFactor
        return await self._proofs.options(_ceremony(asker), user_id=asker.user_id)

    async def by_passkey(self, asker: Asker, *, credential: Credential) -> SteppedUp:
        """Prove the session with one of the user's passkeys.

        Raises:
            InvalidPasskey: it is not, or was not asked for by this session.
        """
        shown = self._proofs.read(credential)

        async def work(tx: Tx) -> SteppedUp:
            await self._proofs.close(tx, _ceremony(asker), challenge=shown.challenge)
            await self._proofs.holder(tx, shown, challenge=shown.challenge, user_id=asker.user_id)
            return await _prove(tx, asker, by_factor=True)

        return await run_once(self._db, work)

    async def require_recent(self, tx: Tx, asker: Asker) -> None:
        """Go on if the session has just begun by a password or a factor, or has proved itself.

        Raises:
            StepUpRequired: neither.
        """
        if await factor_moments.began_within(
            tx, asker.session_id, age=SIGN_IN_COUNTS_FOR, by=COUNTING
        ):
            return
        factors = await second_factors.factors(tx, asker.user_id)
        await _require_proof(tx, asker, by_factor=factors.is_enrolled)

    async def require_factor(self, tx: Tx, asker: Asker, *, otp: str | None) -> Verdict | None:
        """Go on if ``otp`` is right, or a second factor has just been proved; None: it was.

        Raises:
            StepUpRequired: there is no code, and none was proved.
        """
        if otp is not None:
            verdict = await self._codes.judge(tx, user_id=asker.user_id, text=otp)
            return None if verdict.is_right else verdict
        await _require_proof(tx, asker, by_factor=True)
        return None


def _ceremony(asker: Asker) -> Ceremony:
    return Ceremony(purpose=Purpose.STEP_UP, session_id=asker.session_id)


def _typed(password: str) -> str:
    try:
        return read_password(password)
    except Malformed:
        # whatever it is, it is nobody's password, and costs as much to find out
        return "\x00"


async def _begin_password(tx: Tx, asker: Asker) -> str | None:
    """The user's hash. The try is counted as a failure before it is one, so none runs beside it."""
    if (await second_factors.factors(tx, asker.user_id)).is_enrolled:
        raise StepUpRequired("A second factor is needed, not the password.")
    await factor_moments.lock_proof(tx, asker.session_id)
    proof = await factor_moments.proof(tx, asker.session_id, age=PROOF_LIFE)
    if proof is not None:
        if proof.wait_s:
            raise TooManyCodes(retry_after_s=proof.wait_s)
        wait = totp.wait_after(proof.failures + 1)
        await factor_moments.count_failed_proof(tx, asker.session_id, wait=wait)
    return await factor_moments.password_hash(tx, asker.user_id)


async def _prove(tx: Tx, asker: Asker, *, by_factor: bool) -> SteppedUp:
    await factor_moments.lock_proof(tx, asker.session_id)
    proved_at = await factor_moments.prove(tx, asker.session_id, by_factor=by_factor)
    return SteppedUp(by_factor=by_factor, valid_until=proved_at + PROOF_LIFE)


async def _require_proof(tx: Tx, asker: Asker, *, by_factor: bool) -> None:
    proof = await factor_moments.proof(tx, asker.session_id, age=PROOF_LIFE)
    if proof is None or not proof.is_fresh or (by_factor and not proof.by_factor):
        raise StepUpRequired
