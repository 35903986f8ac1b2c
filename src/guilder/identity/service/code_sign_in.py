"""Somebody signs in with a code that was sent to them, instead of a password."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from guilder.identity.api import AccountView, SignedIn
from guilder.identity.api.second_factors import Challenge, InvalidOtp, SecondFactors
from guilder.identity.api.sessions import EndReason
from guilder.identity.api.verifications import VerificationId
from guilder.identity.domain.lockout import Guessing
from guilder.identity.service.code_sending import opened_by_code
from guilder.identity.service.first_proofs import claim, prove
from guilder.identity.service.guess_alarms import GuessAlarms
from guilder.identity.service.lockout import Attempt, Lockout, remembered_device
from guilder.identity.service.names import Named, read_name
from guilder.identity.service.new_passwords import put_password
from guilder.identity.service.one_time_codes import OneTimeCodes, Purpose
from guilder.identity.service.passwords import Passwords
from guilder.identity.service.sessions import Sessions
from guilder.identity.service.verifications import Verifying
from guilder.identity.store import second_factors
from guilder.identity.store.users import UserStore
from guilder.kernel.errors import Overloaded
from guilder.platform.db import Database, Tx
from guilder.platform.once import run_once

TOLD_AT: Final = 10
"""After so many wrong codes in a row for a name, whoever has it is told: two codes' worth."""
_BY_CODE: Final = ("otp",)


class CodeSignIn:
    """Opens sessions of customers for codes. A second factor is asked for as ever.

    Who shows nothing but the code, and is the first to prove the address, has the account to
    themselves from then on: its password, which a stranger may have chosen, opens nothing any more.
    """

    def __init__(
        self,
        *,
        db: Database,
        users: UserStore,
        passwords: Passwords,
        codes: OneTimeCodes,
        sessions: Sessions,
        verifying: Verifying,
        factors: SecondFactors,
        lockout: Lockout,
        alarms: GuessAlarms,
        default_region: str,
    ) -> None:
        self._db = db
        self._users = users
        self._passwords = passwords
        self._codes = codes
        self._sessions = sessions
        self._verifying = verifying
        self._factors = factors
        self._lockout = lockout
        self._alarms = alarms
        self._default_region = default_region

    async def sign_in(
        self,
        *,
        email: str | None,
        phone: str | None,
        code: str,
        second_factor: str | None,
        device_token: str | None = None,
        user_agent: str | None,
        client_address: str,
    ) -> SignedIn | Challenge:
        """Open a session for whoever has the code that was sent to this name.

        Raises:
            ValidationFailed: it is no name.
            InvalidOtp: nobody has the name, or the code is wrong, used, tried too often or late;
                or the code is right, and that of the second factor is wrong.
            TooManySignIns: too much has failed from this address, whatever the names, or too
                many codes for this name, wherever from. A remembered device has its own count.
            TooManyCodes: the code is right, and too many of the second factor were wrong before.
            UserFrozen: the code is right, and staff have frozen the user.
            Overloaded: the store of codes does not answer.
        """
        named = read_name(email=email, phone=phone, default_region=self._default_region)
        if named is None:
            raise InvalidOtp
        account, attempt = await run_once(
            self._db, lambda tx: self._begin(tx, named, device_token, client_address=client_address)
        )
        try:
            is_right = await self._codes.take(
                Purpose.LOGIN,
                subject=named.subject,
                code=code,
                epoch=None if account is None else account.sign_in_epoch,
            )
        except Overloaded:
            await self._lockout.withdrawn(attempt)
            raise
        if account is None or not is_right:
            if attempt.failures == TOLD_AT:
                await self._alarms.leave(named, failures=attempt.failures)
            raise InvalidOtp
        await self._lockout.succeeded(attempt)
        demand = await self._factors.demand(
            account, otp=second_factor, client_address=client_address, methods=_BY_CODE
        )
        if isinstance(demand, Challenge):
            return demand
        proved = await self._proved(account, named, is_alone=demand.methods == _BY_CODE)
        return await self._sessions.open(
            proved, user_agent=user_agent, client_address=client_address, methods=demand.methods
        )

    async def _proved(self, account: AccountView, named: Named, *, is_alone: bool) -> AccountView:
        """The account, now that the address is proved; ``is_alone``: by the code and no more."""
        user_id, epoch = account.user_id, account.sign_in_epoch
        unknown = self._passwords.nobodys()
        ended: list[VerificationId] = []

        async def work(tx: Tx) -> AccountView:
            # Factors before the user's row, and that before anything of theirs, as everybody does.
            await second_factors.lock(tx, user_id)
            if not is_alone:
                await prove(tx, user_id, contact=named.contact, epoch=epoch)
                return account
            if not await claim(tx, account, contact=named.contact, epoch=epoch):
                return account
            await self._sessions.end(tx, user_id=user_id, reason=EndReason.RECLAIMED)
            ended[:] = await put_password(tx, user_id, password_hash=unknown, by="reclaim")
            claimed = await self._users.account(tx, account.id) or account
            # The one end that does not void the code: this very proof has caused it.
            return replace(claimed, sign_in_epoch=epoch + 1)

        proved = await run_once(self._db, work)
        await self._verifying.wipe(ended)
        return proved

    async def _begin(
        self, tx: Tx, named: Named, device_token: str | None, *, client_address: str
    ) -> tuple[AccountView | None, Attempt]:
        """Whose code it would be, and leave to try it."""
        # Read before the code is, so that what ends sessions meanwhile voids the code, too.
        account = await opened_by_code(tx, named, users=self._users)
        attempt = await self._lockout.admit(
            tx,
            guessing=Guessing.CODE,
            name=named.subject,
            client_address=client_address,
            device_id=await remembered_device(
                tx, device_token, user_id=None if account is None else account.user_id
            ),
        )
        return account, attempt
