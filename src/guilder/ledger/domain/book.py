"""The book: decides whether transactions may be posted and keeps what they change until it is
written. All of it is plain memory; the rows behind it are locked by whoever opened it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from datetime import date, datetime
from typing import Final
from uuid import UUID

from msgspec import Struct

from guilder.kernel.clock import epoch_microseconds
from guilder.kernel.errors import Refusal
from guilder.kernel.ids import AccountId, TransactionId
from guilder.kernel.money import MAX_AMOUNT_MINOR
from guilder.ledger.api import (
    Account,
    AccountClosed,
    AccountFrozen,
    AccountNotFound,
    AccountStatus,
    BalanceTooLarge,
    Direction,
    EntryDraft,
    InsufficientFunds,
    TransactionDraft,
    Unbalanced,
)
from guilder.ledger.domain.chain import entry_hash, transaction_digest
from guilder.ledger.domain.controls import Control, local_date
from guilder.ledger.domain.holds import Hold, HoldState

_MAX_SUM: Final = 2**62
"""Sums stay below this, a factor of two from the end of a 64-bit integer."""


class PostedTransaction(Struct, frozen=True, kw_only=True):
    """A transaction to be written, with the time it got and its digest."""

    draft: TransactionDraft
    effective_at: datetime
    digest: bytes


class PostedEntry(Struct, frozen=True, gc=False):
    """An entry to be written."""

    account_id: AccountId
    sequence: int
    transaction_id: TransactionId
    amount_minor: int
    balance_after_minor: int
    hash: bytes


class LockedBook:
    """The `guilder.ledger.api.Book` over accounts and controls that are locked in the database."""

    def __init__(
        self, *, accounts: Iterable[Account], controls: Iterable[Control], now: datetime
    ) -> None:
        self._accounts = {account.id: account for account in accounts}
        self._controls: dict[UUID, list[Control]] = {}
        for control in controls:
            self._controls.setdefault(control.subject_id, []).append(control)
        self._today: dict[str, date] = {}
        # Time never runs backwards in an account, even where the server's clock was set back:
        # the balance at a moment is found by searching its entries in order of sequence.
        latest = [a.last_entry_at for a in self._accounts.values() if a.last_entry_at is not None]
        self.now: datetime = max([now, *latest])
        self._recorded_us = epoch_microseconds(self.now)
        self.transactions: list[PostedTransaction] = []
        self.entries: list[PostedEntry] = []
        self.holds: list[Hold] = []
        self.ended_holds: list[Hold] = []

    def account(self, account_id: AccountId) -> Account | None:
        """The account as it stands after the postings so far; None when it does not exist."""
        return self._accounts.get(account_id)

    def post(self, draft: TransactionDraft) -> Refusal | None:
        """Post or hold one transaction: all its entries, or none and the reason.

        The order of the checks is the order of precedence: the draft's own shape, the accounts'
        status, controls, funds.
        """
        refusal = self._misshapen(draft) or self._not_open(draft.entries)
        if refusal is not None:
            return refusal
        charges = [] if draft.reverses else self._charges(draft.kind, draft.entries)
        for control, amount_minor in charges:
            refusal = control.refusal(amount_minor)
            if refusal is not None:
                return refusal
        refusal = self._reserve(draft) if draft.expires_at else self._apply(draft)
        if refusal is not None:
            return refusal
        for control, amount_minor in charges:
            control.use(amount_minor)
        if draft.reverses is not None:
            undone = [EntryDraft(e.account_id, -e.amount_minor) for e in draft.entries]
            self._give_back(draft.reverses.kind, undone, draft.reverses.recorded_at)
        return None

    def post_linked(self, drafts: Sequence[TransactionDraft]) -> tuple[int, Refusal] | None:
        """Post several transactions or none; answers the first refused one's index and reason."""
        accounts = {key: copy(account) for key, account in self._accounts.items()}
        controls = {key: [copy(c) for c in group] for key, group in self._controls.items()}
        written = len(self.transactions), len(self.entries), len(self.holds)
        for index, draft in enumerate(drafts):
            refusal = self.post(draft)
            if refusal is not None:
                self._accounts, self._controls = accounts, controls
                del self.transactions[written[0] :]
                del self.entries[written[1] :]
                del self.holds[written[2] :]
                return index, refusal
        return None

    @property
    def changed_accounts(self) -> list[Account]:
        """Accounts that a posting touched, in no particular order."""
        touched = {entry.account_id for entry in self.entries}
        for hold in (*self.holds, *self.ended_holds):
            touched.update(entry.account_id for entry in hold.lines)
        return [self._accounts[account_id] for account_id in touched]

    @property
    def changed_controls(self) -> list[Control]:
        """Controls whose use or window changed."""
        return [c for group in self._controls.values() for c in group if c.is_changed]

    def settle(self, hold: Hold, amount_minor: int) -> Refusal | None:
        """Post a hold in full or in part and release the rest of it.

        The hold is open and ``amount_minor`` is at most what it holds: `holds.refusal` has judged.
        """
        refusal = self._not_open(hold.lines)
        if refusal is not None:
            return refusal
        self._release(hold)
        lines = hold.part(amount_minor)
        posted = [line for line in lines if line.amount_minor]
        balances = []
        for entry in posted:
            account = self._accounts[entry.account_id]
            _add_posted(account, entry, sign=1)
            balances.append(account.balance_minor)
        for entry, balance_minor in zip(posted, balances, strict=True):
            self._chain(hold.transaction_id, entry, balance_minor, hold.digest)
        rest = [
            EntryDraft(held.account_id, held.amount_minor - line.amount_minor)
            for held, line in zip(hold.lines, lines, strict=True)
        ]
        self._give_back(hold.kind, rest, hold.recorded_at)
        self._end(hold, HoldState.POSTED, posted_minor=amount_minor)
        return None

    def release(self, hold: Hold, state: HoldState) -> None:
        """End a hold without posting it: voided or expired. The reserved money is free again."""
        self._release(hold)
        self._give_back(hold.kind, hold.lines, hold.recorded_at)
        self._end(hold, state, posted_minor=0)

    def _misshapen(self, draft: TransactionDraft) -> Refusal | None:
        sums: dict[str, int] = {}
        for entry in draft.entries:
            account = self._accounts.get(entry.account_id)
            if account is None:
                return AccountNotFound(account_id=str(entry.account_id))
            if not 0 < abs(entry.amount_minor) <= MAX_AMOUNT_MINOR:
                return Unbalanced("An entry's amount is out of range.")
            code = account.currency.code
            sums[code] = sums.get(code, 0) + entry.amount_minor
        if not sums or any(sums.values()):
            return Unbalanced()
        if draft.expires_at is not None and len(sums) > 1:
            return Unbalanced("A hold has one currency.")
        return None

    def _not_open(self, entries: Iterable[EntryDraft]) -> Refusal | None:
        for entry in entries:
            account = self._accounts[entry.account_id]
            status = account.status
            if status is AccountStatus.OPEN:
                continue
            if status is AccountStatus.CLOSED:
                return AccountClosed(account_id=str(account.id))
            if status is AccountStatus.FROZEN or _flow(account, entry.amount_minor) < 0:
                return AccountFrozen(account_id=str(account.id))
        return None

    def _charges(self, kind: str, entries: Iterable[EntryDraft]) -> list[tuple[Control, int]]:
        if not self._controls:
            return []
        charged: dict[UUID, tuple[Control, int]] = {}
        for entry in entries:
            account = self._accounts[entry.account_id]
            flow = _flow(account, entry.amount_minor)
            direction = Direction.OUTFLOW if flow < 0 else Direction.INFLOW
            for control in self._controls_on(account):
                if (
                    control.direction is direction
                    and control.currency == account.currency
                    and control.covers(kind)
                ):
                    control.roll(self._local_day(self.now, control.time_zone))
                    before = charged[control.id][1] if control.id in charged else 0
                    charged[control.id] = control, before + abs(flow)
        return list(charged.values())

    def _controls_on(self, account: Account) -> Iterable[Control]:
        yield from self._controls.get(account.id, ())
        if account.owner_id is not None:
            yield from self._controls.get(account.owner_id, ())

    def _give_back(self, kind: str, entries: Iterable[EntryDraft], used_at: datetime) -> None:
        for control, amount_minor in self._charges(kind, entries):
            control.give_back(
                amount_minor, used_at=used_at, used_on=self._local_day(used_at, control.time_zone)
            )

    def _local_day(self, moment: datetime, time_zone: str) -> date:
        if moment is not self.now:
            return local_date(moment, time_zone)
        day = self._today.get(time_zone)
        if day is None:
            day = self._today[time_zone] = local_date(moment, time_zone)
        return day

    def _apply(self, draft: TransactionDraft) -> Refusal | None:
        balances: list[int] = []
        for entry in draft.entries:
            account = self._accounts[entry.account_id]
            refusal = _funds_refusal(account, entry.amount_minor)
            if refusal is not None:
                for undone in draft.entries[: len(balances)]:
                    _add_posted(self._accounts[undone.account_id], undone, sign=-1)
                return refusal
            _add_posted(account, entry, sign=1)
            balances.append(account.balance_minor)
        digest = self._record(draft)
        for entry, balance_minor in zip(draft.entries, balances, strict=True):
            self._chain(draft.id, entry, balance_minor, digest)
        return None

    def _reserve(self, draft: TransactionDraft) -> Refusal | None:
        for done, entry in enumerate(draft.entries):
            account = self._accounts[entry.account_id]
            refusal = _funds_refusal(account, entry.amount_minor)
            if refusal is not None:
                for undone in draft.entries[:done]:
                    _add_pending(self._accounts[undone.account_id], undone, sign=-1)
                return refusal
            _add_pending(account, entry, sign=1)
        digest = self._record(draft)
        self.holds.append(
            Hold(
                transaction_id=draft.id,
                kind=draft.kind,
                lines=draft.entries,
                expires_at=draft.expires_at or self.now,
                recorded_at=self.now,
                digest=digest,
            )
        )
        return None

    def _release(self, hold: Hold) -> None:
        for entry in hold.lines:
            _add_pending(self._accounts[entry.account_id], entry, sign=-1)

    def _end(self, hold: Hold, state: HoldState, *, posted_minor: int) -> None:
        hold.state, hold.posted_minor = state, posted_minor
        self.ended_holds.append(hold)

    def _record(self, draft: TransactionDraft) -> bytes:
        effective_at = draft.effective_at or self.now
        digest = transaction_digest(
            transaction_id=draft.id,
            kind=draft.kind,
            description=draft.description,
            metadata=draft.metadata,
            effective_at=effective_at,
            recorded_us=self._recorded_us,
            expires_at=draft.expires_at,
            reverses_id=draft.reverses.id if draft.reverses else None,
        )
        self.transactions.append(
            PostedTransaction(draft=draft, effective_at=effective_at, digest=digest)
        )
        return digest

    def _chain(
        self,
        transaction_id: TransactionId,
        entry: EntryDraft,
        balance_after_minor: int,
        digest: bytes,
    ) -> None:
        account = self._accounts[entry.account_id]
        account.sequence += 1
        account.last_hash = entry_hash(
            previous=account.last_hash,
            account_id=account.id,
            sequence=account.sequence,
            transaction_id=transaction_id,
            amount_minor=entry.amount_minor,
            balance_after_minor=balance_after_minor,
            recorded_us=self._recorded_us,
            digest=digest,
        )
        account.last_entry_at = self.now
        self.entries.append(
            PostedEntry(
                account.id,
                account.sequence,
                transaction_id,
                entry.amount_minor,
                balance_after_minor,
                account.last_hash,
            )
        )


def _flow(account: Account, amount_minor: int) -> int:
    """An entry seen from the account's owner: positive comes in, negative goes out."""
    return amount_minor if account.type.is_debit_normal else -amount_minor


def _funds_refusal(account: Account, amount_minor: int) -> Refusal | None:
    flow = _flow(account, amount_minor)
    if (
        flow < 0
        and account.floor_minor is not None
        and account.available_minor + flow < account.floor_minor
    ):
        return InsufficientFunds()
    if amount_minor > 0:
        sums = account.posted_debits + account.pending_debits + amount_minor
    else:
        sums = account.posted_credits + account.pending_credits - amount_minor
    if sums > _MAX_SUM:
        return BalanceTooLarge()
    return None


def _add_posted(account: Account, entry: EntryDraft, *, sign: int) -> None:
    if entry.amount_minor > 0:
        account.posted_debits += sign * entry.amount_minor
    else:
        account.posted_credits -= sign * entry.amount_minor


def _add_pending(account: Account, entry: EntryDraft, *, sign: int) -> None:
    if entry.amount_minor > 0:
        account.pending_debits += sign * entry.amount_minor
    else:
        account.pending_credits -= sign * entry.amount_minor
