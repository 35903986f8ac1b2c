"""Somebody signs in with a code that was sent to them, instead of a password."""

from __future__ import annotations

from guilder.identity.api import AccountView, SignedIn
from guilder.identity.api.second_factors import Challenge, InvalidOtp, SecondFactors
from guilder.identity.service.code_sending import Named, opened_by_code, read_name
from guilder.identity.service.contact_checks import prove
from guilder.identity.service.lockout import Attempt, Lockout
from guilder.identity.service.one_time_codes import OneTimeCodes, Purpose
from guilder.identity.service.sessions import Sessions
from guilder.identity.store.users import UserStore
from guilder.platform.db import Database, Tx


class CodeSignIn:
    """Opens sessions of customers for codes. A second factor is asked for as ever."""

    def __init__(
        self,
        *,
        db: Database,
        users: UserStore,
        codes: OneTimeCodes,
        sessions: Sessions,
        factors: SecondFactors,
        lockout: Lockout,
        default_region: str,
    ) -> None:
        self._db = db
        self._users = users
        self._codes = codes
        self._sessions = sessions
        self._factors = factors
        self._lockout = lockout
        self._default_region = default_region

    async def sign_in(
        self,
        *,
        email: str | None,
        phone: str | None,
        code: str,
        second_factor: str | None,
        user_agent: str | None,
        client_address: str,
    ) -> SignedIn | Challenge:
        """Open a session for whoever has the code that was sent to this name.

        Raises:
            ValidationFailed: it is no name.
            InvalidOtp: nobody has the name, or the code is wrong, used, tried too often or late;
                or the code is right, and that of the second factor is wrong.
            TooManySignIns: too much has failed from this address, whatever the names.
            TooManyCodes: the code is right, and too many of the second factor were wrong before.
            UserFrozen: the code is right, and staff have frozen the user.
            Overloaded: the store of codes does not answer.
        """
        named = read_name(email=email, phone=phone, default_region=self._default_region)
        if named is None:
            raise InvalidOtp
        account, attempt = await self._db.run(
            lambda tx: self._begin(tx, named, client_address=client_address)
        )
        is_right = await self._codes.take(Purpose.LOGIN, subject=named.subject, code=code)
        if account is None or not is_right:
            await self._lockout.failed(attempt)
            raise InvalidOtp
        epoch = account.sign_in_epoch
        await self._db.run(
            lambda tx: prove(tx, account.user_id, contact=named.contact, epoch=epoch)
        )
        demand = await self._factors.demand(
            account, otp=second_factor, client_address=client_address, methods=("otp",)
        )
        if isinstance(demand, Challenge):
            return demand
        return await self._sessions.open(
            account,
            user_agent=user_agent,
            client_address=client_address,
            methods=demand.methods,
        )

    async def _begin(
        self, tx: Tx, named: Named, *, client_address: str
    ) -> tuple[AccountView | None, Attempt]:
        """Whose code it would be, and leave to try it."""
        attempt = await self._lockout.admit_from(tx, client_address=client_address)
        # Read before the code is, so that what ends sessions meanwhile voids the code, too.
        return await opened_by_code(tx, named, users=self._users), attempt
