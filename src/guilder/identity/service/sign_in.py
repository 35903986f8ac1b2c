"""Somebody signs in: their password is checked, and a session is opened."""

from __future__ import annotations

from guilder.identity.api import AccountView, Credentials, InvalidCredentials, SignedIn
from guilder.identity.domain import applicants
from guilder.identity.domain.applicants import Malformed
from guilder.identity.service.passwords import Passwords
from guilder.identity.service.sessions import Sessions
from guilder.identity.store.users import SignInRow, UserStore
from guilder.kernel.errors import Unauthenticated, ValidationFailed
from guilder.kernel.ids import UserId
from guilder.platform.db import Database


class SignIn:
    """Opens sessions and says whose they are."""

    def __init__(
        self,
        *,
        db: Database,
        users: UserStore,
        passwords: Passwords,
        sessions: Sessions,
        default_region: str,
    ) -> None:
        self._db = db
        self._users = users
        self._passwords = passwords
        self._sessions = sessions
        self._default_region = default_region

    async def sign_in(
        self, credentials: Credentials, *, user_agent: str | None, client_address: str
    ) -> SignedIn:
        """Open a session for whoever knows the password.

        Raises:
            ValidationFailed: the credentials cannot be anybody's.
            InvalidCredentials: they are nobody's; the answer and its time do not tell why.
            UserFrozen: they are right, and staff have frozen the user.
            Overloaded: too many passwords are waiting to be checked.
        """
        password = _readable(credentials)
        row = await self._find(credentials)
        stored = None if row is None else row.password_hash
        if not await self._passwords.match(password, stored=stored) or row is None:
            raise InvalidCredentials(claimed=credentials.email or credentials.phone)
        return await self._sessions.open(
            row.account, user_agent=user_agent, client_address=client_address, methods=("pwd",)
        )

    async def whoami(self, account_id: UserId) -> AccountView:
        """The account that a verified token names.

        Raises:
            Unauthenticated: there is no such account any more.
        """
        account = await self._db.run(lambda tx: self._users.account(tx, account_id))
        if account is None:
            raise Unauthenticated
        return account

    async def _find(self, credentials: Credentials) -> SignInRow | None:
        email_key, phone = self._names(credentials)
        # Asked even for a name that is nobody's, so that the answer takes as long.
        return await self._db.run(
            lambda tx: self._users.sign_in_account(
                tx, email_key=email_key, phone=phone, account_type=credentials.account_type
            )
        )

    def _names(self, credentials: Credentials) -> tuple[str | None, str | None]:
        try:
            if credentials.email is not None:
                return applicants.read_email(credentials.email.strip()).key, None
            phone = (credentials.phone or "").strip()
            return None, applicants.read_phone(phone, default_region=self._default_region)
        except Malformed:
            return None, None


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
