"""Who forgot the password sets another one with a token that was sent to their email."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from guilder.identity.api import AccountView
from guilder.identity.api.codes import ResetTokenUnusable
from guilder.identity.api.sessions import EndReason
from guilder.identity.api.verifications import VerificationId, token_digest
from guilder.identity.domain.applicants import Malformed, read_new_password
from guilder.identity.service.first_proofs import claim
from guilder.identity.service.new_passwords import put_password, telling_words
from guilder.identity.service.passwords import Passwords
from guilder.identity.service.sessions import Sessions
from guilder.identity.service.verifications import Verifying
from guilder.identity.store import credentials, second_factors
from guilder.identity.store.users import UserStore
from guilder.kernel.errors import ValidationFailed
from guilder.platform.db import Database, Tx
from guilder.platform.identifiers import new_id

_KEPT: Final = timedelta(days=1)


class RecoveryOfAccess:
    """Resets passwords. Every session of the user ends, whoever opened it."""

    def __init__(
        self,
        *,
        db: Database,
        users: UserStore,
        passwords: Passwords,
        sessions: Sessions,
        verifying: Verifying,
    ) -> None:
        self._db = db
        self._users = users
        self._passwords = passwords
        self._sessions = sessions
        self._verifying = verifying

    async def reset(self, token: str, *, new_password: str) -> None:
        """Set another password. The token works once; second factors stay as they are.

        If nobody had proved the email before, every other way in ends with it: second factors,
        but for those of staff, machine clients, links to providers, and codes to the phone until
        it is proved again; and, by event, webhooks and devices that hear of the account.

        Raises:
            ResetTokenUnusable: it is unknown, used or too old.
            ValidationFailed: the new password is weak.
            Overloaded: too many passwords are waiting to be hashed.
        """
        digest, attempt = token_digest(token), new_id()
        account = await self._db.run(lambda tx: self._whose(tx, digest))
        if account is None:
            raise ResetTokenUnusable
        try:
            chosen = read_new_password(new_password, not_like=telling_words(account))
        except Malformed as problem:
            raise ValidationFailed(fields={"new_password": str(problem)}) from None
        password_hash = await self._passwords.hash(chosen)

        async def work(tx: Tx) -> list[VerificationId]:
            user_id = account.user_id
            # Factors before the user's row, and that before anything of theirs, as everybody does.
            await second_factors.lock(tx, user_id)
            await self._sessions.end(
                tx, user_id=user_id, reason=EndReason.PASSWORD_RESET, sparing=digest
            )
            if not await credentials.use_reset(tx, digest, used_by=attempt):
                raise ResetTokenUnusable
            await claim(tx, account, contact="email")
            return await put_password(tx, user_id, password_hash=password_hash, by="reset")

        await self._verifying.wipe(await self._db.run(work))

    async def clear(self) -> None:
        """Forget tokens that ended a day ago."""
        await self._db.run(lambda tx: credentials.forget_resets(tx, after=_KEPT))

    async def _whose(self, tx: Tx, digest: bytes) -> AccountView | None:
        user_id = await credentials.reset_of(tx, digest)
        return None if user_id is None else await self._users.account(tx, user_id)
