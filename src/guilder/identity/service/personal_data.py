"""What people may ask of the data on them: to see it, and to be forgotten, if the law allows.

An erasure is one transaction: what they hold is closed, their sessions end, their key is destroyed
and with it every copy of what it encrypted, in backups as well. What is left is an id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from guilder.identity.api.personal_data import (
    ErasureTerms,
    Export,
    Hold,
    LegalHold,
    RetainedByLaw,
    StillStaff,
)
from guilder.identity.api.roles import UserNotFound
from guilder.identity.domain.applicants import email_key
from guilder.identity.events import Reasoned
from guilder.identity.events.staff import (
    LegalHoldLifted,
    LegalHoldPlaced,
    UserErased,
)
from guilder.identity.service.clients import forget_clients
from guilder.identity.service.named_jobs import NamedJobs
from guilder.identity.service.names import Named
from guilder.identity.service.outside_sign_in import forget_links
from guilder.identity.service.sessions import Sessions
from guilder.identity.store import erasures, exports, person_keys, revocations
from guilder.identity.store import roles as role_store
from guilder.identity.store.users import UserStore, database_time
from guilder.kernel.errors import NotPermitted, Refusal, Unauthenticated
from guilder.kernel.ids import UserId
from guilder.platform import failpoints
from guilder.platform.db import Database, Tx
from guilder.platform.envelopes import Unreadable
from guilder.platform.erasures import Listed
from guilder.platform.identifiers import new_id
from guilder.platform.outbox import append, outgoing
from guilder.platform.permissions import CUSTOMER, USER_ADMIN

BEFORE_ERASED: Final = failpoints.declare(
    "identity.before_erased", "Somebody is erased in a transaction that is not committed yet."
)
_ERASED: Final = "erased"
_MOST_SESSIONS: Final = 1000
_log = structlog.get_logger("guilder.identity")


class ErasePeople:
    """The `guilder.identity.api.personal_data.Erasures` of one database."""

    def __init__(
        self,
        *,
        db: Database,
        users: UserStore,
        sessions: Sessions,
        jobs: NamedJobs,
        terms: ErasureTerms,
    ) -> None:
        self._db = db
        self._users = users
        self._sessions = sessions
        self._jobs = jobs
        self._estates = terms.estates
        self._retention = terms.retention
        self._listed = terms.listed

    async def erase(self, user_id: UserId, *, reason: str, by: UserId | None) -> datetime:
        """Forget a user for good, and close what they hold; when. Repeating it changes nothing.

        Raises:
            UserNotFound: nobody ever had this id.
            StillStaff: they have a role of staff.
            LegalHold: staff placed a hold on their data.
            MoneyRemains: there is money in a wallet, or money is held.
            RetainedByLaw: their last payment is too recent.
        """
        erased_at = await self._db.run(lambda tx: self._erase(tx, user_id, reason, by))
        # After the commit: an erasure that is refused, or fails, is not to be done later. Should
        # this process end just here, `keep_to_list` adds the line.
        await self._list([Listed(person_id=user_id, reason=reason)])
        return erased_at

    async def keep_to_list(self) -> None:
        """Make list and database agree: add who is missing on it, erase who is back from a backup.

        Whoever cannot be erased, because the backup has money of theirs, is named in the log, and
        by `guilder verify` until they are.

        Raises:
            KeyUnusable: a line of the list is damaged.
        """
        lines = {line.person_id: line for line in await asyncio.to_thread(self._listed.read)}
        listed = [UserId(person_id) for person_id in lines]
        await self._list(await self._db.run(lambda tx: erasures.erased_besides(tx, listed)))
        for user_id in await self._db.run(lambda tx: erasures.not_erased(tx, listed)):
            try:
                await self.erase(user_id, reason=lines[user_id].reason, by=None)
            except Refusal as refusal:
                _log.critical(
                    "identity.erased_user_is_back", user_id=str(user_id), refusal=refusal.code
                )
            except Exception:  # noqa: BLE001 - one whose data is damaged stops nobody after them
                _log.exception("identity.erasing_again_failed", user_id=str(user_id))
            else:
                _log.warning("identity.erased_again", user_id=str(user_id))

    async def _list(self, lines: Sequence[Listed]) -> None:
        for line in lines:
            await asyncio.to_thread(self._listed.add, line)

    async def _erase(self, tx: Tx, user_id: UserId, reason: str, by: UserId | None) -> datetime:
        # Roles before users before wallets, as everybody locks them.
        await role_store.lock(tx)
        status = await erasures.lock_user(tx, user_id)
        if status is None:
            raise UserNotFound
        done = await erasures.erased_at(tx, user_id) if status == _ERASED else None
        if done is not None:
            return done
        await self._refuse_kept(tx, user_id)
        await self._sessions.forget(tx, user_id=user_id)
        await self._jobs.forget(tx, await self._names(tx, user_id))
        await forget_clients(tx, user_id=user_id)
        await forget_links(tx, user_id=user_id)
        await revocations.freeze(tx, user_id)
        await person_keys.drop_digests(tx, user_id)
        await person_keys.destroy_key(tx, user_id)
        erased_at = await erasures.erase(tx, user_id, reason=reason, by=by)
        fact = UserErased(user_id=user_id, by=by, reason=reason, erased_at=erased_at)
        await append(tx, [outgoing(fact, key=str(user_id))])
        await failpoints.reach(BEFORE_ERASED)
        return erased_at

    async def _names(self, tx: Tx, user_id: UserId) -> list[Named]:
        """What they were called by; nothing where it cannot be read any more."""
        try:
            account = await self._users.account(tx, user_id)
        except Unreadable:
            return []
        if account is None:
            return []
        names = [Named(email_key=email_key(account.email))]
        return names if account.phone is None else [*names, Named(phone=account.phone)]

    async def _refuse_kept(self, tx: Tx, user_id: UserId) -> None:
        """Close what they hold, and refuse whoever has to be kept."""
        appointed = await role_store.appointed(tx, user_id)
        if appointed is not None and appointed.roles - {CUSTOMER, USER_ADMIN}:
            raise StillStaff
        if await erasures.hold_on(tx, user_id) is not None:
            raise LegalHold
        paid_at = await self._estates.wind_up(tx, user_id)
        if paid_at is not None and paid_at + self._retention > await database_time(tx):
            raise RetainedByLaw(until=paid_at + self._retention)


class LegalHolds:
    """Places and lifts legal holds. Repeating either act changes nothing."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def on(self, user_id: UserId) -> Hold | None:
        """The hold on a user.

        Raises:
            UserNotFound: there is no such user, or they are erased.
        """

        async def read(tx: Tx) -> Hold | None:
            await _lock(tx, user_id)
            return await erasures.hold_on(tx, user_id)

        return await self._db.run(read)

    async def place(self, user_id: UserId, *, reason: str, by: UserId) -> Hold:
        """Let nobody erase this user; the hold that is on them, this one or one before.

        Raises:
            NotPermitted: staff do not do this to themselves.
            UserNotFound: there is no such user, or they are erased.
        """
        _refuse_own(user_id, by=by)
        hold_id = new_id()
        return await self._db.run(lambda tx: _place(tx, user_id, hold_id, reason, by))

    async def lift(self, user_id: UserId, *, reason: str, by: UserId) -> None:
        """Let this user be erased again.

        Raises:
            NotPermitted: staff do not do this to themselves.
            UserNotFound: there is no such user, or they are erased.
        """
        _refuse_own(user_id, by=by)
        await self._db.run(lambda tx: _lift(tx, user_id, reason, by))


class PersonalExport:
    """Gives people what is known of them."""

    def __init__(self, *, db: Database, users: UserStore, sessions: Sessions) -> None:
        self._db = db
        self._users = users
        self._sessions = sessions

    async def of(self, account_id: UserId) -> Export:
        """Everything identity knows of whoever has this account, of all their accounts.

        Raises:
            Unauthenticated: there is no such account any more.
        """

        async with self._db.snapshot() as tx:
            account = await self._users.account(tx, account_id)
            if account is None:
                raise Unauthenticated
            roles = await exports.roles_since(tx, account.user_id)
            ways_in = await exports.ways_in(tx, account.user_id)
        sessions = await self._sessions.page(
            user_id=account.user_id, after=None, limit=_MOST_SESSIONS
        )
        return Export(account=account, roles_since=roles, ways_in=ways_in, sessions=tuple(sessions))


def _refuse_own(user_id: UserId, *, by: UserId) -> None:
    if user_id == by:
        raise NotPermitted("Nobody decides on a legal hold on their own data.")


async def _lock(tx: Tx, user_id: UserId) -> None:
    if await erasures.lock_user(tx, user_id) in {None, _ERASED}:
        raise UserNotFound


async def _place(tx: Tx, user_id: UserId, hold_id: UUID, reason: str, by: UserId) -> Hold:
    await _lock(tx, user_id)
    hold = await erasures.hold_on(tx, user_id)
    if hold is not None:
        return hold
    await erasures.place_hold(tx, hold_id, user_id, reason=reason, by=by)
    placed = await erasures.hold_on(tx, user_id)
    if placed is None:
        raise AssertionError  # pragma: no cover - it was just written
    fact = LegalHoldPlaced(
        user_id=user_id,
        hold_id=placed.id,
        by=by,
        personal=Reasoned(reason=reason),
        placed_at=placed.placed_at,
    )
    await append(tx, [outgoing(fact, key=str(user_id))])
    return placed


async def _lift(tx: Tx, user_id: UserId, reason: str, by: UserId) -> None:
    await _lock(tx, user_id)
    lifted = await erasures.lift_hold(tx, user_id, by=by)
    if lifted is None:
        return
    hold_id, lifted_at = lifted
    fact = LegalHoldLifted(
        user_id=user_id,
        hold_id=hold_id,
        by=by,
        personal=Reasoned(reason=reason),
        lifted_at=lifted_at,
    )
    await append(tx, [outgoing(fact, key=str(user_id))])
