"""A user changes the password: knowing the old one, and verified with a code of the portal."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256

from guilder.identity.api import AccountType, AccountView
from guilder.identity.api.codes import WrongPassword
from guilder.identity.api.sessions import EndReason
from guilder.identity.api.verifications import (
    Asked,
    Operation,
    Spending,
    VerificationId,
    VerificationNeeded,
    VerificationTokens,
    token_digest,
)
from guilder.identity.domain.applicants import Malformed, read_new_password, read_password
from guilder.identity.domain.lockout import Guessing
from guilder.identity.domain.verifications import Status
from guilder.identity.service.lockout import Attempt, Lockout
from guilder.identity.service.new_passwords import put_password, telling_words
from guilder.identity.service.passwords import Passwords
from guilder.identity.service.sessions import Sessions
from guilder.identity.service.verifications import Verifying
from guilder.identity.store import credentials
from guilder.identity.store import verifications as store
from guilder.identity.store.users import UserStore
from guilder.kernel.errors import NotPermitted, Overloaded, Unauthenticated, ValidationFailed
from guilder.kernel.ids import SessionId, UserId
from guilder.platform.db import Database, Tx
from guilder.platform.envelopes import OuterKeys
from guilder.platform.identifiers import new_id
from guilder.platform.once import run_once


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Who wants which password instead of which, from where; and the proof, once there is one."""

    account_id: UserId
    session_id: SessionId | None
    client_address: str
    current: str = field(repr=False)
    new: str = field(repr=False)
    token: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    account: AccountView
    stored: str
    attempt: Attempt


class PasswordChange:
    """Changes passwords. The user's other sessions end."""

    def __init__(
        self,
        *,
        db: Database,
        users: UserStore,
        passwords: Passwords,
        sessions: Sessions,
        lockout: Lockout,
        verifying: Verifying,
        tokens: VerificationTokens,
        keys: OuterKeys,
    ) -> None:
        self._db = db
        self._users = users
        self._passwords = passwords
        self._sessions = sessions
        self._lockout = lockout
        self._verifying = verifying
        self._tokens = tokens
        self._keys = keys

    async def change(self, wish: Wish) -> VerificationNeeded | None:
        """Change the password, or say which verification has to be completed first.

        Raises:
            Unauthenticated: there is no such account any more.
            NotPermitted: it is a user-admin account, which sees the codes.
            WrongPassword: the current password is another.
            ValidationFailed: the new password is weak, or the current one.
            TooManySignIns: the current password was wrong too often.
            InvalidVerificationToken: the token is not for this, or was used.
            VerificationExpired: the token is too old.
            TooManyVerifications: too many were begun and not completed.
            Overloaded: too many passwords are waiting to be checked.
        """
        known = await run_once(self._db, lambda tx: self._begin(tx, wish))
        new = _chosen(wish, known.account)
        if not await self._matches(wish.current, known):
            if wish.token is not None and await self._is_done(wish, new, known):
                return None
            raise WrongPassword
        if new == read_password(wish.current):
            raise ValidationFailed(fields={"new_password": "is the current one"})
        asked = self._asked(wish, known, new)
        if wish.token is None:
            return await self._verifying.demand(asked)
        await self._put(wish, wish.token, asked, known, await self._passwords.hash(new))
        return None

    async def _begin(self, tx: Tx, wish: Wish) -> _Known:
        account = await self._users.account(tx, wish.account_id)
        stored = None if account is None else await credentials.password(tx, account.user_id)
        if account is None or stored is None:
            raise Unauthenticated
        if account.account_type is AccountType.USER_ADMIN:
            raise NotPermitted
        attempt = await self._lockout.admit(
            tx,
            guessing=Guessing.PASSWORD_CHANGE,
            name=str(account.user_id),
            client_address=wish.client_address,
        )
        return _Known(account=account, stored=stored, attempt=attempt)

    async def _matches(self, current: str, known: _Known) -> bool:
        try:
            matches = await self._passwords.match(_typed(current), stored=known.stored)
        except Overloaded:
            await self._lockout.withdrawn(known.attempt)
            raise
        if matches:
            await self._lockout.succeeded(known.attempt)
        else:
            await self._lockout.failed(known.attempt)
        return matches

    async def _is_done(self, wish: Wish, new: str, known: _Known) -> bool:
        """Whether this very change was made before and its answer was lost."""
        digest = token_digest(wish.token or "")
        ends = await self._db.run(lambda tx: store.ends(tx, [digest]))
        if ends.get(digest) != (wish.account_id, Status.USED):
            return False
        return await self._passwords.match(new, stored=known.stored)

    def _asked(self, wish: Wish, known: _Known, new: str) -> Asked:
        """The change as it is verified: to this password, instead of this one."""
        user_id = known.account.user_id
        return Asked(
            account_id=wish.account_id,
            session_id=wish.session_id,
            operation=Operation.PASSWORD_CHANGE,
            parameters={
                "new_password": str(self._keys.pseudonym(f"new password|{user_id}|{new}")),
                "instead_of": sha256(known.stored.encode()).hexdigest(),
            },
        )

    async def _put(
        self, wish: Wish, token: str, asked: Asked, known: _Known, password_hash: str
    ) -> None:
        attempt = new_id()
        spending = Spending(
            token=token_digest(token),
            account_id=asked.account_id,
            operation=asked.operation,
            parameters=asked.parameters,
            used_by=attempt,
        )
        ended = await self._db.run(lambda tx: self._write(tx, wish, known, spending, password_hash))
        await self._verifying.wipe(ended)

    async def _write(
        self, tx: Tx, wish: Wish, known: _Known, spending: Spending, password_hash: str
    ) -> list[VerificationId]:
        user_id = known.account.user_id
        # First, since it locks the user's row, as everybody does before anything of theirs.
        await self._sessions.end(
            tx, user_id=user_id, keep=wish.session_id, reason=EndReason.PASSWORD_CHANGED
        )
        if await credentials.password(tx, user_id) not in {known.stored, password_hash}:
            raise WrongPassword
        verdicts = await self._tokens.spend(tx, [spending])
        refusal = verdicts[spending.used_by]
        if refusal is not None:
            raise refusal
        await credentials.void_resets(tx, user_id)
        return await put_password(tx, user_id, password_hash=password_hash, by="change")


def _typed(text: str) -> str:
    try:
        return read_password(text)
    except Malformed as problem:
        raise ValidationFailed(fields={"current_password": str(problem)}) from None


def _chosen(wish: Wish, account: AccountView) -> str:
    _typed(wish.current)
    try:
        return read_new_password(wish.new, not_like=telling_words(account))
    except Malformed as problem:
        raise ValidationFailed(fields={"new_password": str(problem)}) from None
