"""Somebody signs in: their password is checked, and a session is opened."""

from __future__ import annotations

from guilder.identity.api import AccountView, Credentials, InvalidCredentials, SignedIn
from guilder.identity.api.second_factors import Challenge, SecondFactors
from guilder.identity.domain import applicants
from guilder.identity.domain.applicants import Malformed
from guilder.identity.domain.lockout import Guessing
from guilder.identity.service.lockout import Attempt, Lockout, remembered_device
from guilder.identity.service.passwords import Passwords
from guilder.identity.service.sessions import Sessions
from guilder.identity.store.users import SignInRow, UserStore
from guilder.kernel.errors import Overloaded, ValidationFailed
from guilder.platform.db import Database, Tx
from guilder.platform.once import run_once


class SignIn:
    """Opens sessions and says whose they are."""

    def __init__(
        self,
        *,
        db: Database,
        users: UserStore,
        passwords: Passwords,
        sessions: Sessions,
        lockout: Lockout,
        factors: SecondFactors,
        default_region: str,
    ) -> None:
        self._db = db
        self._users = users
        self._passwords = passwords
        self._sessions = sessions
        self._lockout = lockout
        self._factors = factors
        self._default_region = default_region

    async def sign_in(
        self, credentials: Credentials, *, user_agent: str | None, client_address: str
    ) -> SignedIn | Challenge:
        """Open a session for whoever knows the password, and has the second factor if there is one.

        Raises:
            ValidationFailed: the credentials cannot be anybody's.
            InvalidCredentials: they are nobody's; the answer and its time do not tell why.
            TooManySignIns: too many have failed; names that nobody has are answered alike.
            InvalidOtp: they are right, and the code of the second factor is wrong.
            TooManyCodes: they are right, and too many codes were wrong before.
            UserFrozen: they are right, and staff have frozen the user.
            Overloaded: too many passwords are waiting to be checked.
        """
        account = await self._proved(credentials, client_address=client_address)
        demand = await self._factors.demand(
            account, otp=credentials.otp, client_address=client_address
        )
        if isinstance(demand, Challenge):
            return demand
        return await self._sessions.open(
            account,
            user_agent=user_agent,
            client_address=client_address,
            methods=demand.methods,
            device_token=credentials.device_token,
            remember_device=credentials.remember_device,
        )

    async def _proved(self, credentials: Credentials, *, client_address: str) -> AccountView:
        """The account whose password was given."""
        password = _readable(credentials)
        row, attempt = await run_once(
            self._db, lambda tx: self._begin(tx, credentials, client_address=client_address)
        )
        stored = None if row is None else row.password_hash
        try:
            matches = await self._passwords.match(password, stored=stored)
        except Overloaded:
            await self._lockout.withdrawn(attempt)
            raise
        if not matches or row is None:
            await self._lockout.failed(attempt)
            raise InvalidCredentials(
                claimed=credentials.email or credentials.phone,
                claimed_id=None if row is None else row.account.user_id,
            )
        await self._lockout.succeeded(attempt)
        return row.account

    async def _begin(
        self, tx: Tx, credentials: Credentials, *, client_address: str
    ) -> tuple[SignInRow | None, Attempt]:
        """Who is meant, and leave to try. Asked for names that are nobody's, too."""
        email_key, phone = self._names(credentials)
        row = await self._users.sign_in_account(
            tx, email_key=email_key, phone=phone, account_type=credentials.account_type
        )
        attempt = await self._lockout.admit(
            tx,
            guessing=Guessing.PASSWORD,
            name=email_key or phone or _as_written(credentials),
            client_address=client_address,
            device_id=await remembered_device(
                tx, credentials.device_token, user_id=None if row is None else row.account.user_id
            ),
        )
        return row, attempt

    def _names(self, credentials: Credentials) -> tuple[str | None, str | None]:
        try:
            if credentials.email is not None:
                return applicants.read_email(credentials.email.strip()).key, None
            phone = (credentials.phone or "").strip()
            return None, applicants.read_phone(phone, default_region=self._default_region)
        except Malformed:
            return None, None


def _as_written(credentials: Credentials) -> str:
    """A name that nobody can have, as one spelling: it is counted like the others."""
    return (credentials.email or credentials.phone or "").strip().casefold()


def _readable(credentials: Credentials) -> str:
    """The password in the form that was hashed.

    Raises:
        ValidationFailed: names each field that nobody could have.
    """
    problems: dict[str, str] = {}
    if (credentials.email is None) == (credentials.phone is None):
        problems["email"] = "or phone is needed, one of the two"
    for name, text in (("email", credentials.email), ("phone", credentials.phone)):
        if text is not None and not applicants.is_plain_name(text):
            problems[name] = "is too long or contains characters that none has"
    try:
        password = applicants.read_password(credentials.password)
    except Malformed as problem:
        raise ValidationFailed(fields={**problems, "password": str(problem)}) from None
    if problems:
        raise ValidationFailed(fields=problems)
    return password
