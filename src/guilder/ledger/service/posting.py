"""The `Ledger` port on PostgreSQL: what other contexts call inside their own transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from guilder.kernel.errors import Conflict, ValidationFailed
from guilder.kernel.ids import AccountId, TransactionId
from guilder.kernel.invariant import InvariantViolation, invariant
from guilder.ledger.api import (
    Account,
    AccountClosed,
    AccountExists,
    AccountNotEmpty,
    AccountNotFound,
    AccountStatus,
    Book,
    Direction,
    Entry,
    InsufficientFunds,
    Movement,
    NewAccount,
    NewControl,
)
from guilder.ledger.domain.book import LockedBook
from guilder.ledger.domain.chart import PLATFORM_ACCOUNTS, unopened_account
from guilder.ledger.domain.controls import Control
from guilder.ledger.domain.floors import FloorChange
from guilder.ledger.domain.holds import Hold
from guilder.ledger.domain.reversals import Original
from guilder.ledger.store import books, controls, reads, transactions
from guilder.ledger.store.holds import lock_holds, read_holds
from guilder.platform.db import TryAgain, Tx
from guilder.platform.db_writes import Write, write_together

_MOMENT = timedelta(microseconds=1)


class PostgresLedger:
    """Implements `guilder.ledger.api.Ledger`; it keeps nothing between calls."""

    async def open_account(self, tx: Tx, account: NewAccount) -> None:
        """Open an account.

        Raises:
            AccountExists: the id is taken, or the platform has one of this code and currency.
            ValidationFailed: its floor is above zero, which an empty account would be below.
        """
        if account.floor_minor is not None and account.floor_minor > 0:
            raise ValidationFailed(fields={"floor": "must not be above zero"})
        await books.lock_subjects(tx, {account.id, account.owner_id or account.id})
        now = await books.database_time(tx)
        if await books.insert_accounts(tx, [account], created_at=now) == 0:
            raise AccountExists(account_id=str(account.id))

    async def open_book(
        self,
        tx: Tx,
        account_ids: Collection[AccountId],
        *,
        movements: Collection[Movement] | None = None,
        holds: Collection[TransactionId] = (),
        originals: Collection[TransactionId] = (),
    ) -> LockedBook:
        """Lock the accounts, the controls on them and their owners, and the holds, in this order.

        Each kind is locked in id order. The accounts that ``holds`` (to be ended) and
        ``originals`` (to be reversed) touch are locked too. Platform accounts named by
        `platform_account_id` come into being when they are first posted to. ``movements`` says all
        that will be posted, so that controls on anything else stay out of it; the book then posts
        nothing else.

        Raises:
            TryAgain: what is to be ended or reversed was posted while the locks were waited for.
        """
        is_narrow = movements is not None and bool(holds or originals)
        invariant(not is_narrow, "what holds and reversals give back needs every control")
        wanted = set(account_ids)
        if holds or originals:
            wanted |= await _touched(tx, holds=holds, originals=originals)
        accounts, unopened = await _lock_or_prepare(tx, wanted)
        # Judged after the locks: time spent waiting for them counts.
        locked_controls, now = await _lock_controls(tx, accounts, movements)
        locked_holds = await lock_holds(tx, holds) if holds else []
        if locked_holds:
            now = await books.database_time(tx)
        reversible = await transactions.read_originals(tx, originals) if originals else []
        _require_locked(accounts, holds=locked_holds, originals=reversible)
        return LockedBook(
            accounts=accounts,
            controls=locked_controls,
            holds=locked_holds,
            originals=reversible,
            movements=movements,
            unopened=unopened,
            now=now,
        )

    async def write(self, tx: Tx, book: Book) -> None:
        """Store everything that was posted in ``book``.

        Raises:
            TryAgain: an id was taken while the book was open. Let it pass: `Database.run` looks
                again.
            InvariantViolation: another ledger opened the book.
        """
        await write_together(tx, self.writes_of(book))

    def writes_of(self, book: Book) -> Sequence[Write]:
        """What `write` does, to be done together with what else the transaction writes.

        Raises:
            InvariantViolation: another ledger opened the book.
        """
        if not isinstance(book, LockedBook):
            raise InvariantViolation("a book is written by the ledger that opened it")
        return books.writes_of(book)

    async def accounts(
        self, tx: Tx, account_ids: Collection[AccountId]
    ) -> dict[AccountId, Account]:
        """Read accounts without locking them."""
        return {account.id: account for account in await books.read_accounts(tx, account_ids)}

    async def busy(self, tx: Tx, movements: Collection[Movement]) -> set[Movement]:
        """Which of these movements would wait now, if a book were opened for all of them.

        Somebody else has locked their account, or a control on it or its owner. What nobody else
        has locked is locked.
        """
        wanted = {movement.account_id for movement in movements}
        there = await books.read_accounts(tx, wanted)
        owner_of = {account.id: account.owner_id for account in there}
        locked = owner_of.keys() - await books.lock_free(tx, owner_of.keys())
        if unopened := _platforms_among(wanted, there=there):
            locked |= await books.busy_subjects(tx, unopened)
        held = await controls.lock_free_on(tx, _limited_by(movements, accounts=there))
        return {
            movement
            for movement in movements
            if movement.account_id in locked
            or (movement.account_id, movement.direction) in held
            or (owner_of.get(movement.account_id), movement.direction) in held
        }

    async def lock_account(self, tx: Tx, account_id: AccountId) -> Account:
        """Lock one account until the transaction ends.

        Raises:
            AccountNotFound: it does not exist.
        """
        found = await books.lock_accounts(tx, [account_id])
        if not found:
            raise AccountNotFound(account_id=str(account_id))
        return found[0]

    async def set_status(self, tx: Tx, account_id: AccountId, status: AccountStatus) -> Account:
        """Freeze, unfreeze or close an account under its lock. Doing it again changes nothing.

        Raises:
            AccountNotFound: it does not exist.
            AccountClosed: it was closed before and would be opened or frozen; closing is final.
            AccountNotEmpty: it is to be closed and holds money, or money is held in it.
        """
        account = await self.lock_account(tx, account_id)
        if account.status is status:
            return account
        if account.status is AccountStatus.CLOSED:
            raise AccountClosed(account_id=str(account_id))
        is_empty = not (account.balance_minor or account.pending_debits or account.pending_credits)
        if status is AccountStatus.CLOSED and not is_empty:
            raise AccountNotEmpty(account_id=str(account_id))
        account.status = status
        await books.write_status(tx, account)
        return account

    async def set_floor(self, tx: Tx, account_id: AccountId, *, floor_minor: int | None) -> Account:
        """Set the lowest balance an account may have, under its lock; None means no limit.

        Raises:
            AccountNotFound: it does not exist.
            AccountClosed: it is closed.
            InsufficientFunds: less than that is available now.
        """
        account = await self.lock_account(tx, account_id)
        if account.status is AccountStatus.CLOSED:
            raise AccountClosed(account_id=str(account_id))
        if floor_minor == account.floor_minor:
            return account
        if floor_minor is not None and account.available_minor < floor_minor:
            raise InsufficientFunds
        now = await books.database_time(tx)
        change = FloorChange(
            account_id=account_id,
            number=await books.floor_changes(tx, account_id) + 1,
            after_sequence=account.sequence,
            previous_floor_minor=account.floor_minor,
            floor_minor=floor_minor,
            changed_at=now if account.moved_at is None else max(now, account.moved_at),
        )
        account.floor_minor = floor_minor
        await books.write_floor(tx, account, change=change)
        return account

    async def create_control(self, tx: Tx, control: NewControl) -> bool:
        """Create a control unless one has its id; that one then stays as it is. Was it created?

        The accounts of its subject are locked, so that nothing slips past it.
        """
        if await controls.control_exists(tx, control.id):
            return False
        await books.lock_subjects(tx, [control.subject_id])
        accounts = await books.lock_accounts_of(tx, control.subject_id)
        if await controls.control_exists(tx, control.id):
            return False
        # What was recorded up to now was not counted: every posting from here on waits for us.
        now = await _after_all(tx, accounts)
        # Only those who set controls on this subject waited for us: the id may go to another's.
        return await controls.insert_control(tx, _new_control(control, now=now))

    async def set_control(self, tx: Tx, control: NewControl) -> NewControl | None:
        """Create a control, or let the one with this id allow what this one says.

        Answers what the one with this id said before; None: it is new. What is used is counted
        again from the entries where its kinds or its time zone change.

        Raises:
            Conflict: the one with this id is on another subject, currency or direction.
        """
        # A posting locks the controls that its kinds are limited by, so one that this control is
        # about to limit may be under way, or its account be opened: their locks are waited for.
        await books.lock_subjects(tx, [control.subject_id])
        is_new = await self.create_control(tx, control)
        accounts = await books.lock_accounts_of(tx, control.subject_id)
        found = await controls.lock_control(tx, control.id)
        if found is None or _target(found) != _target(control):
            raise Conflict("The control limits something else.")
        before = None if is_new else _said(found)
        is_recounted = (found.kinds, found.time_zone) != (control.kinds, control.time_zone)
        found.kinds, found.time_zone, found.limits = (
            control.kinds,
            control.time_zone,
            control.limits,
        )
        if is_recounted:
            # Up to now, and in the windows of now: what it begins to limit may have moved since
            # it was last used.
            found.roll(max(found.used_at, await _after_all(tx, accounts)))
        await controls.change_control(tx, found)
        if is_recounted:
            used = await controls.used(tx, [found])
            found.day_used_minor, found.month_used_minor = used.get(found.id, (0, 0))
            await controls.change_control(tx, found)
        return before

    async def balance_at(self, tx: Tx, account_id: AccountId, at: datetime) -> int:
        """The account's balance on its normal side after all entries recorded up to ``at``."""
        return await reads.balance_at(tx, account_id, at)

    async def entries(
        self, tx: Tx, account_id: AccountId, *, before_sequence: int | None, limit: int
    ) -> list[Entry]:
        """An account's entries, newest first, from below ``before_sequence``."""
        return await reads.entries(tx, account_id, before_sequence=before_sequence, limit=limit)


async def _touched(
    tx: Tx, *, holds: Collection[TransactionId], originals: Collection[TransactionId]
) -> set[AccountId]:
    touched = await transactions.accounts_of(tx, originals) if originals else set()
    for hold in await read_holds(tx, holds):
        touched.update(line.account_id for line in hold.lines)
    return touched


async def _after_all(tx: Tx, accounts: Collection[Account]) -> datetime:
    """The time, after all that was recorded in these locked accounts, wherever the clock was."""
    moved = [account.moved_at for account in accounts if account.moved_at is not None]
    return max([await books.database_time(tx), *(moment + _MOMENT for moment in moved)])


def _require_locked(
    accounts: Collection[Account], *, holds: Collection[Hold], originals: Collection[Original]
) -> None:
    """Before the locks, what is to be ended or reversed may not have been there yet.

    A hold has no entries until it is posted, and a transaction none until it is committed.
    """
    touched = {line.account_id for hold in holds for line in hold.lines}
    touched.update(entry.account_id for original in originals for entry in original.entries)
    if not touched <= {account.id for account in accounts}:
        raise TryAgain("what is to be ended or reversed was posted in the meantime")


async def _lock_or_prepare(
    tx: Tx, wanted: Collection[AccountId]
) -> tuple[list[Account], frozenset[AccountId]]:
    """The accounts, locked, and which of them are not there yet: the platform's, before first use.

    Nobody else opens one of those, or sets a control on it, until this transaction ends.
    """
    accounts = await books.lock_accounts(tx, wanted)
    missing = _platforms_among(wanted, there=accounts)
    if missing:
        await books.lock_subjects(tx, missing)
        accounts = await books.lock_accounts(tx, wanted)
        missing = _platforms_among(wanted, there=accounts)
    return [*accounts, *map(unopened_account, missing)], missing


def _platforms_among(
    wanted: Collection[AccountId], *, there: Collection[Account]
) -> frozenset[AccountId]:
    if len(there) == len(wanted):
        return frozenset()
    missing = set(wanted).difference(account.id for account in there)
    return frozenset(missing & PLATFORM_ACCOUNTS.keys())


def _new_control(control: NewControl, *, now: datetime) -> Control:
    return Control(
        id=control.id,
        subject_id=control.subject_id,
        currency=control.currency,
        direction=control.direction,
        kinds=control.kinds,
        limits=control.limits,
        time_zone=control.time_zone,
        created_at=now,
        used_at=now,
    )


def _said(control: Control) -> NewControl:
    return NewControl(
        id=control.id,
        subject_id=control.subject_id,
        currency=control.currency,
        direction=control.direction,
        limits=control.limits,
        time_zone=control.time_zone,
        kinds=control.kinds,
    )


def _target(control: Control | NewControl) -> tuple[object, ...]:
    return control.subject_id, control.currency, control.direction


async def _lock_controls(
    tx: Tx, accounts: Collection[Account], movements: Collection[Movement] | None
) -> tuple[list[Control], datetime]:
    if movements is None:
        owners = {account.owner_id for account in accounts if account.owner_id is not None}
        return await controls.lock_controls(tx, [*(account.id for account in accounts), *owners])
    return await controls.lock_controls_on(tx, _limited_by(movements, accounts=accounts))


def _limited_by(
    movements: Collection[Movement], *, accounts: Collection[Account]
) -> controls.Limiting:
    owner_of = {account.id: account.owner_id for account in accounts}
    subjects: dict[Direction, set[UUID]] = {direction: set() for direction in Direction}
    for account_id, direction, _ in movements:
        subjects[direction].add(account_id)
        owner_id = owner_of.get(account_id)
        if owner_id is not None:
            subjects[direction].add(owner_id)
    return controls.Limiting(
        leaves=subjects[Direction.OUTFLOW],
        enters=subjects[Direction.INFLOW],
        kinds={movement.kind for movement in movements},
        currencies={account.currency.code for account in accounts},
    )
