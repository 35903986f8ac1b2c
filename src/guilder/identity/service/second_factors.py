"""Asks a sign-in for a second factor, and opens its session once one was shown.

A challenge is a secret of the client, kept as a digest: five minutes, five tries, one use, and only
from the network where the password was given.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final

from guilder.identity.api import AccountView, SignedIn
from guilder.identity.api.second_factors import (
    Challenge,
    ChallengeUnusable,
    Demand,
    Device,
    Factor,
    FactorsView,
    InvalidPasskey,
    Passed,
)
from guilder.identity.domain.networks import network_of
from guilder.identity.service.passkey_proofs import PasskeyProofs, Presentation
from guilder.identity.service.relying_party import Credential, RelyingParty
from guilder.identity.service.second_factor_codes import SecondFactorCodes, Verdict
from guilder.identity.service.sessions import Sessions
from guilder.identity.store import factor_moments, passkeys, second_factors
from guilder.identity.store.factor_moments import ChallengeRow
from guilder.identity.store.users import UserStore
from guilder.kernel.ids import UserId
from guilder.kernel.invariant import InvariantViolation
from guilder.platform.db import Database, Tx
from guilder.platform.once import run_once

CHALLENGE_LIFE: Final = timedelta(minutes=5)
MOST_TRIES: Final = 5
BY_CODE: Final = ("otp", "mfa")
BY_PASSKEY: Final = ("hwk", "mfa")
_TOKEN_BYTES: Final = 32
_LONGEST_TOKEN: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a challenge is answered with, a code or a passkey, and by which device."""

    otp: str | None
    credential: Credential | None
    device: Device


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    account: AccountView
    methods: tuple[str, ...]


class SecondFactorSignIn:
    """The `guilder.identity.api.second_factors.SecondFactors` of the one database."""

    def __init__(
        self,
        *,
        db: Database,
        users: UserStore,
        sessions: Sessions,
        codes: SecondFactorCodes,
        proofs: PasskeyProofs,
        site: RelyingParty,
    ) -> None:
        self._db = db
        self._users = users
        self._sessions = sessions
        self._codes = codes
        self._proofs = proofs
        self._site = site

    async def demand(
        self,
        account: AccountView,
        *,
        otp: str | None,
        client_address: str,
        methods: tuple[str, ...] = ("pwd",),
    ) -> Demand:
        """What an account still has to show after its first factor, ``methods``, was proved.

        A user without second factors passes, whatever ``otp`` is. ``otp`` is a TOTP or a recovery
        code; a right one is used up. Without one, a new challenge is made.

        Raises:
            InvalidOtp: the code is wrong, or was used.
            TooManyCodes: too many were wrong before.
        """
        token = secrets.token_urlsafe(_TOKEN_BYTES)

        async def work(tx: Tx) -> Demand | Verdict:
            factors = await second_factors.factors(tx, account.user_id)
            if not factors.is_enrolled:
                return Passed(methods=methods)
            if otp is None:
                expires_at = await factor_moments.add_challenge(
                    tx,
                    digest=_digest(token),
                    account=account,
                    methods=methods,
                    network=network_of(client_address),
                    life=CHALLENGE_LIFE,
                )
                return Challenge(
                    token=token,
                    expires_at=expires_at,
                    factors=_kinds(factors),
                    passkey_options=await self._options(tx, account.user_id, token=token),
                )
            verdict = await self._codes.judge(tx, user_id=account.user_id, text=otp)
            if not verdict.is_right:
                return verdict
            return Passed(methods=_both(methods, BY_CODE))

        outcome = await run_once(self._db, work)
        if isinstance(outcome, Verdict):
            outcome.or_refuse()
            raise InvariantViolation("a right code passes")
        return outcome

    async def complete(self, token: str, *, shown: Shown) -> SignedIn:
        """Open the session that a challenge waits for.

        Raises:
            ChallengeUnusable: it is unknown, over, used, tried five times, or begun elsewhere.
            InvalidOtp: the code is wrong, or was used.
            TooManyCodes: too many were wrong before.
            InvalidPasskey: it is not the user's, or did not sign this challenge.
        """
        if len(token) > _LONGEST_TOKEN:
            raise ChallengeUnusable
        passkey = None if shown.credential is None else self._proofs.read(shown.credential)

        async def work(tx: Tx) -> _Done | Verdict | InvalidPasskey | None:
            row = await factor_moments.lock_challenge(tx, _digest(token))
            if row is None or not _is_usable(row, shown.device.client_address):
                return None
            account = await self._users.account(tx, row.account_id)
            if account is None or account.sign_in_epoch != row.sign_in_epoch:
                # the password counted when it was given, and does no more
                return None
            problem = await self._judge(tx, account, token=token, otp=shown.otp, by=passkey)
            if problem is not None:
                return problem
            await factor_moments.complete_challenge(tx, _digest(token))
            added = BY_CODE if passkey is None else BY_PASSKEY
            return _Done(account=account, methods=_both(row.methods, added))

        outcome = await run_once(self._db, work)
        return await self._open(_or_refuse(outcome), shown)

    async def _judge(
        self,
        tx: Tx,
        account: AccountView,
        *,
        token: str,
        otp: str | None,
        by: Presentation | None,
    ) -> Verdict | InvalidPasskey | None:
        """What is wrong, returned and not raised, so that the try is counted."""
        if by is not None:
            try:
                await self._proofs.holder(
                    tx, by, challenge=_passkey_challenge(token), user_id=account.user_id
                )
            except InvalidPasskey as problem:
                await factor_moments.count_try(tx, _digest(token))
                return problem
            return None
        verdict = await self._codes.judge(tx, user_id=account.user_id, text=otp or "")
        if verdict.is_right:
            return None
        if not verdict.wait_s:
            await factor_moments.count_try(tx, _digest(token))
        return verdict

    async def _open(self, done: _Done, shown: Shown) -> SignedIn:
        return await self._sessions.open(
            done.account,
            user_agent=shown.device.user_agent,
            client_address=shown.device.client_address,
            methods=done.methods,
            device_token=shown.device.token,
            remember_device=shown.device.wants_to_be_remembered,
        )

    async def _options(self, tx: Tx, user_id: UserId, *, token: str) -> Mapping[str, Any] | None:
        known = await passkeys.known(tx, user_id)
        if not known:
            return None
        return self._site.request_options(challenge=_passkey_challenge(token), known=known)


def _or_refuse(outcome: _Done | Verdict | InvalidPasskey | None) -> _Done:
    if outcome is None:
        raise ChallengeUnusable
    if isinstance(outcome, InvalidPasskey):
        raise outcome
    if isinstance(outcome, Verdict):
        outcome.or_refuse()
        raise InvariantViolation("a right code passes")
    return outcome


def _both(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))


def _is_usable(row: ChallengeRow, client_address: str) -> bool:
    return (
        row.is_open
        and row.completed_at is None
        and row.tries < MOST_TRIES
        and row.network == network_of(client_address)
    )


def _kinds(factors: FactorsView) -> tuple[Factor, ...]:
    has = {
        Factor.TOTP: factors.totp_since is not None,
        Factor.PASSKEY: factors.passkeys > 0,
        Factor.RECOVERY_CODE: factors.recovery_codes_left > 0,
    }
    return tuple(factor for factor, it_has in has.items() if it_has)


def _digest(token: str) -> bytes:
    return sha256(b"guilder sign-in challenge|" + token.encode()).digest()


def _passkey_challenge(token: str) -> bytes:
    """What a passkey signs to answer a challenge: made of its secret, and telling nothing of it."""
    return sha256(b"guilder sign-in passkey|" + token.encode()).digest()
