"""Somebody signs in: a session is written, and a short-lived access token speaks for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from guilder.identity.api import AccountView, Credentials, InvalidCredentials, SignedIn
from guilder.identity.domain import applicants
from guilder.identity.domain.applicants import Malformed
from guilder.identity.events import UserLoggedIn
from guilder.identity.service.passwords import Passwords
from guilder.identity.store import sessions
from guilder.identity.store.users import SignInRow, UserStore
from guilder.kernel.errors import Unauthenticated, ValidationFailed
from guilder.kernel.ids import SessionId, UserId
from guilder.platform import access_tokens
from guilder.platform.access_tokens import AccessClaims
from guilder.platform.db import Database, Tx
from guilder.platform.identifiers import new_id
from guilder.platform.keys import ACCESS_TOKEN_LIFE_S, KeyFolder, UnixTime
from guilder.platform.outbox import append, outgoing

_VERSIONS: Final = re.compile(r"[0-9][0-9._]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    id: SessionId
    account: AccountView
    user_agent: str | None
    issued_at: int

    @property
    def expires_at(self) -> int:
        return self.issued_at + ACCESS_TOKEN_LIFE_S


class SignIn:
    """Opens sessions and says whose they are."""

    def __init__(
        self,
        *,
        db: Database,
        users: UserStore,
        passwords: Passwords,
        keys: KeyFolder,
        issuer: str,
        audience: str,
        default_region: str,
        now: UnixTime,
    ) -> None:
        self._db = db
        self._users = users
        self._passwords = passwords
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._default_region = default_region
        self._now = now

    async def sign_in(self, credentials: Credentials, *, user_agent: str | None) -> SignedIn:
        """Open a session for whoever knows the password.

        Raises:
            ValidationFailed: the credentials cannot be anybody's.
            InvalidCredentials: they are nobody's; the answer and its time do not tell why.
            Overloaded: too many passwords are waiting to be checked.
        """
        password = _readable(credentials)
        row = await self._find(credentials)
        stored = None if row is None else row.password_hash
        if not await self._passwords.match(password, stored=stored) or row is None:
            raise InvalidCredentials(claimed=credentials.email or credentials.phone)
        session = _Session(
            id=SessionId(new_id()),
            account=row.account,
            user_agent=user_agent,
            issued_at=int(self._now()),
        )
        key = await self._keys.signing_key()
        token = access_tokens.sign(self._claims(session), key=key)
        await self._db.run(lambda tx: _write(tx, session))
        return SignedIn(
            token=token,
            expires_at=session.expires_at,
            expires_in_s=ACCESS_TOKEN_LIFE_S,
            session_id=session.id,
            account=row.account,
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

    def _claims(self, session: _Session) -> AccessClaims:
        account = session.account
        return AccessClaims(
            iss=self._issuer,
            aud=self._audience,
            sub=account.id,
            jti=new_id(),
            iat=session.issued_at,
            exp=session.expires_at,
            account_type=account.account_type.value,
            roles=account.roles,
            email=account.email,
            customer_id=account.customer_id,
            sid=session.id,
        )


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


async def _write(tx: Tx, session: _Session) -> None:
    started_at = datetime.fromtimestamp(session.issued_at, UTC)
    added = await sessions.add_session(
        tx,
        session_id=session.id,
        account_id=session.account.id,
        user_agent=session.user_agent,
        started_at=started_at,
        expires_at=datetime.fromtimestamp(session.expires_at, UTC),
    )
    if not added:
        return
    event = UserLoggedIn(
        user_id=session.account.user_id,
        account_id=session.account.id,
        account_type=session.account.account_type.value,
        session_id=session.id,
        logged_in_at=started_at,
        device=_device(session.user_agent),
    )
    await append(tx, [outgoing(event, key=str(session.account.user_id))])


def _device(user_agent: str | None) -> str | None:
    """The same for the same program on the same kind of device; its version does not count."""
    if user_agent is None:
        return None
    return sha256(_VERSIONS.sub("", user_agent).encode()).hexdigest()[:32]
