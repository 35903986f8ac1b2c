"""Finds users for staff: by id, or by the whole of an email or a phone number.

Both are stored encrypted and found by a keyed digest of the whole, so nothing can be found by the
beginning of one, and nobody can look through who there is.
"""

from __future__ import annotations

from dataclasses import dataclass

from guilder.identity.api import AccountView
from guilder.identity.api.roles import UserFile, UserNotFound
from guilder.identity.domain import applicants
from guilder.identity.domain.applicants import Malformed
from guilder.identity.events import Reasoned
from guilder.identity.events.staff import UserLookedUp
from guilder.identity.store import freezes
from guilder.identity.store.users import UserStore, database_time
from guilder.kernel.errors import ValidationFailed
from guilder.kernel.ids import UserId
from guilder.platform.db import Database, Tx
from guilder.platform.once import run_once
from guilder.platform.outbox import append, outgoing


@dataclass(frozen=True, slots=True, kw_only=True)
class Looking:
    """Who of staff looks, and why."""

    by: UserId
    reason: str


class People:
    """Looks users up, and publishes who did."""

    def __init__(self, *, db: Database, users: UserStore, default_region: str) -> None:
        self._db = db
        self._users = users
        self._default_region = default_region

    async def search(
        self,
        *,
        user_id: UserId | None = None,
        email: str | None = None,
        phone: str | None = None,
        looking: Looking,
    ) -> list[AccountView]:
        """The user with this id, this email or this phone: at most one, and none if unknown.

        Raises:
            ValidationFailed: not exactly one was given, or it can be nobody's.
        """
        if sum(given is not None for given in (user_id, email, phone)) != 1:
            raise ValidationFailed(fields={"id": "or email or phone is needed, one of them"})
        if user_id is not None:
            return await self._accounts([user_id], named_by="id", looking=looking)
        email_key, number = self._read(email=email, phone=phone)
        holders = await self._db.run(
            lambda tx: self._users.who_has(tx, email_key=email_key, phone=number)
        )
        named_by = "phone" if email is None else "email"
        return await self._accounts(sorted(holders), named_by=named_by, looking=looking)

    async def file(self, user_id: UserId, *, looking: Looking | None = None) -> UserFile:
        """A user, with every freeze. Without ``looking`` it answers an act that was published.

        Raises:
            UserNotFound: nobody has this id, or they were erased.
        """

        async def read(tx: Tx) -> UserFile:
            account = await self._users.account(tx, user_id)
            if account is None or account.user_id != user_id:
                raise UserNotFound
            if looking is not None:
                await _publish(tx, user_id, named_by="id", looking=looking)
            return UserFile(account=account, freezes=await freezes.of_user(tx, user_id))

        return await run_once(self._db, read)

    def _read(self, *, email: str | None, phone: str | None) -> tuple[str | None, str | None]:
        field = "phone" if email is None else "email"
        try:
            if email is not None:
                return applicants.read_email(email).key, None
            return None, applicants.read_phone(phone or "", default_region=self._default_region)
        except Malformed as problem:
            raise ValidationFailed(fields={field: str(problem)}) from None

    async def _accounts(
        self, user_ids: list[UserId], *, named_by: str, looking: Looking
    ) -> list[AccountView]:
        async def read(tx: Tx) -> list[AccountView]:
            found = [await self._users.account(tx, user_id) for user_id in user_ids]
            users = [one for one in found if one is not None and one.user_id == one.id]
            found_id = users[0].id if users else None
            await _publish(tx, found_id, named_by=named_by, looking=looking)
            return users

        return await run_once(self._db, read)


async def _publish(tx: Tx, user_id: UserId | None, *, named_by: str, looking: Looking) -> None:
    fact = UserLookedUp(
        user_id=user_id,
        by=looking.by,
        named_by=named_by,
        personal=Reasoned(reason=looking.reason),
        looked_up_at=await database_time(tx),
    )
    await append(tx, [outgoing(fact, key=str(user_id or looking.by))])
