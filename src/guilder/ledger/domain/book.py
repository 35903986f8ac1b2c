"""The book: decides whether transactions may be posted and keeps what they change until it is
written. All of it is plain memory; the rows behind it are locked by whoever opened it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from datetime import datetime
from typing import Final, TypeAlias

from msgspec import Struct

from guilder.kernel.clock import epoch_microseconds
from guilder.kernel.errors import Refusal, ValidationFailed
from guilder.kernel.ids import AccountId, TransactionId
from guilder.kernel.invariant import invariant
from guilder.kernel.money import MAX_AMOUNT_MINOR
from guilder.ledger.api import (
    Account,
    AccountClosed,
    AccountFrozen,
    AccountNotFound,
    AccountStatus,
    BalanceTooLarge,
    EntryDraft,
    HoldExpired,
    HoldNotFound,
    InsufficientFunds,
    Movement,
    OriginalTransaction,
    ReversalDraft,
    TransactionDraft,
    TransactionNotFound,
    Unbalanced,
)
from guilder.ledger.domain.chain import entry_hash, transaction_digest
from guilder.ledger.domain.controls import Control, Controls, Flow, direction_of
from guilder.ledger.domain.holds import Hold, HoldState, end_refusal, settle_refusal
from guilder.ledger.domain.reversals import Original, reversing_entries

_MAX_SUM: Final = 2**62
"""Sums stay below this, a factor of two from the end of a 64-bit integer."""


Line: TypeAlias = tuple[Account, int]
"""An account of this book and the amount of an entry of it: debit positive, credit negative."""


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
    """The `guilder.ledger.api.Book` over what is locked in the database.

    Holds and originals are those that it was opened with; others do not exist for it. Accounts in
    ``unopened`` are not stored yet, and will be once something is posted to them.
    """

    def __init__(
        self,
        *,
        accounts: Iterable[Account],
        now: datetime,
        controls: Iterable[Control] = (),
        holds: Iterable[Hold] = (),
        originals: Iterable[Original] = (),
        movements: Iterable[Movement] | None = None,
        unopened: frozenset[AccountId] = frozenset(),
    ) -> None:
        self._accounts = {account.id: account for account in accounts}
        self._unopened = unopened
        self._movements = None if movements is None else frozenset(movements)
        self._loaded_holds = {hold.transaction_id: hold for hold in holds}
        self._originals = {original.id: original for original in originals}
        controls = list(controls)
        # Time never runs backwards in an account or a control, even where the server's clock was
        # set back: the balance at a moment is found by searching entries in order of sequence.
        latest = [a.moved_at for a in self._accounts.values() if a.moved_at is not None]
        self.now: datetime = max([now, *latest, *(control.used_at for control in controls)])
        self._recorded_us = epoch_microseconds(self.now)
        self._controls = Controls(controls, now=self.now)
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
        lines = self._lines(draft.entries)
        if isinstance(lines, Refusal):
            return lines
        refusal = self._misshapen(draft, lines) or _not_open(lines)
        if refusal is not None:
            return refusal
        flows = _flows(lines)
        self._require_announced(draft.kind, flows)
        charges = [] if draft.reverses else self._controls.charges(draft.kind, flows)
        for control, amount_minor in charges:
            refusal = control.refusal(amount_minor)
            if refusal is not None:
                return refusal
        if draft.expires_at is None:
            refusal = self._apply(draft, lines)
        else:
            refusal = self._reserve(draft, lines, expires_at=draft.expires_at)
        if refusal is not None:
            return refusal
        for control, amount_minor in charges:
            control.use(amount_minor)
        if draft.reverses is not None:
            undone = [(account, -amount_minor) for account, amount_minor in lines]
            self._give_back(draft.reverses.kind, undone, draft.reverses.recorded_at)
        return None

    def _require_announced(self, kind: str, flows: Iterable[Flow]) -> None:
        # Controls on anything else are not in the book, so nothing else could be judged.
        announced = self._movements
        if announced is None:
            return
        moved = [(account.id, direction_of(flow), kind) for account, flow in flows]
        invariant(announced.issuperset(moved), "a book posts what was announced")

    def post_linked(self, drafts: Sequence[TransactionDraft]) -> tuple[int, Refusal] | None:
        """Post several transactions or none; answers the first refused one's index and reason.

        After a refusal, read the accounts again: those read before are not of this book any more.
        """
        named = {entry.account_id for draft in drafts for entry in draft.entries}
        accounts = {key: copy(self._accounts[key]) for key in named if key in self._accounts}
        controls = self._controls.copies(accounts.values())
        written = len(self.transactions), len(self.entries), len(self.holds)
        for index, draft in enumerate(drafts):
            refusal = self.post(draft)
            if refusal is not None:
                self._accounts.update(accounts)
                self._controls.restore(controls)
                del self.transactions[written[0] :]
                del self.entries[written[1] :]
                del self.holds[written[2] :]
                return index, refusal
        return None

    def settle(self, hold_id: TransactionId, *, amount_minor: int | None = None) -> Refusal | None:
        """Post a hold in full or in part and release the rest of it. Once posted, it has ended."""
        hold = self._loaded_holds.get(hold_id)
        if hold is None:
            return HoldNotFound(transaction_id=str(hold_id))
        amount_minor = hold.amount_minor if amount_minor is None else amount_minor
        held = self._locked_lines(hold.lines)
        refusal = settle_refusal(hold, amount_minor, now=self.now) or _not_open(held)
        if refusal is not None:
            return refusal
        self._release(held)
        part = self._locked_lines(hold.part(amount_minor))
        posted_lines = [line for line in part if line[1]]
        balances = []
        for account, posted_minor in posted_lines:
            _add_posted(account, posted_minor, sign=1)
            balances.append(account.balance_minor)
        self._chain(hold_id, posted_lines, balances, digest=hold.digest)
        rest = [
            (account, whole - posted)
            for (account, whole), (_, posted) in zip(held, part, strict=True)
            if whole != posted
        ]
        self._give_back(hold.kind, rest, hold.recorded_at)
        self._end(hold, HoldState.POSTED, posted_minor=amount_minor)
        return None

    def void(self, hold_id: TransactionId) -> Refusal | None:
        """End a hold without posting it: the reserved money is free again."""
        return self._let_go(hold_id, HoldState.VOIDED)

    def expire(self, hold_id: TransactionId) -> Refusal | None:
        """End a hold whose time is over."""
        hold = self._loaded_holds.get(hold_id)
        invariant(hold is None or self.now >= hold.expires_at, "a hold expires when it is due")
        return self._let_go(hold_id, HoldState.EXPIRED)

    def reverse(self, draft: ReversalDraft) -> Refusal | None:
        """Undo a posted transaction in full or in part, and give back the allowance it used."""
        original = self._originals.get(draft.original_id)
        if original is None:
            return TransactionNotFound(transaction_id=str(draft.original_id))
        accounts = self._accounts
        currencies = {accounts[entry.account_id].currency for entry in original.entries}
        entries = reversing_entries(original, draft.amount_minor, currencies=len(currencies))
        if isinstance(entries, Refusal):
            return entries
        refusal = self.post(
            TransactionDraft(
                id=draft.id,
                kind=draft.kind,
                entries=entries,
                description=draft.description,
                metadata=draft.metadata,
                reverses=OriginalTransaction(
                    id=original.id, kind=original.kind, recorded_at=original.recorded_at
                ),
            )
        )
        if refusal is None:
            original.reversing = (*original.reversing, *entries)
        return refusal

    @property
    def changed_accounts(self) -> list[Account]:
        """Accounts that a posting touched and that were there, in no particular order."""
        return [self._accounts[account_id] for account_id in self._touched() - self._unopened]

    @property
    def opened_accounts(self) -> list[Account]:
        """Accounts that come into being with this book, for a posting touched them."""
        if not self._unopened:
            return []
        return [self._accounts[account_id] for account_id in self._touched() & self._unopened]

    @property
    def changed_controls(self) -> list[Control]:
        """Controls whose use or window changed."""
        return self._controls.changed

    def _touched(self) -> set[AccountId]:
        touched = {entry.account_id for entry in self.entries}
        for hold in (*self.holds, *self.ended_holds):
            touched.update(entry.account_id for entry in hold.lines)
        return touched

    def _lines(self, entries: Iterable[EntryDraft]) -> list[Line] | AccountNotFound:
        lines = []
        for entry in entries:
            account = self._accounts.get(entry.account_id)
            if account is None:
                return AccountNotFound(account_id=str(entry.account_id))
            lines.append((account, entry.amount_minor))
        return lines

    def _locked_lines(self, entries: Iterable[EntryDraft]) -> list[Line]:
        return [(self._accounts[entry.account_id], entry.amount_minor) for entry in entries]

    def _misshapen(self, draft: TransactionDraft, lines: Iterable[Line]) -> Refusal | None:
        if draft.effective_at is not None and draft.effective_at > self.now:
            return ValidationFailed(fields={"effective_at": "must not lie in the future"})
        sums: dict[str, int] = {}
        for account, amount_minor in lines:
            if not 0 < abs(amount_minor) <= MAX_AMOUNT_MINOR:
                return Unbalanced("An entry's amount is out of range.")
            code = account.currency.code
            sums[code] = sums.get(code, 0) + amount_minor
        if not sums or any(sums.values()):
            return Unbalanced()
        return None if draft.expires_at is None else self._unholdable(draft.expires_at, sums)

    def _unholdable(self, expires_at: datetime, sums: Mapping[str, int]) -> Refusal | None:
        if len(sums) > 1:
            return Unbalanced("A hold has one currency.")
        if expires_at <= self.now:
            return HoldExpired("A hold ends after it begins.")
        return None

    def _give_back(self, kind: str, lines: Iterable[Line], used_at: datetime) -> None:
        self._controls.give_back(kind, _flows(lines), used_at=used_at)

    def _apply(self, draft: TransactionDraft, lines: Sequence[Line]) -> Refusal | None:
        balances: list[int] = []
        for account, amount_minor in lines:
            refusal = _funds_refusal(account, amount_minor)
            if refusal is not None:
                for done, undone_minor in lines[: len(balances)]:
                    _add_posted(done, undone_minor, sign=-1)
                return refusal
            _add_posted(account, amount_minor, sign=1)
            balances.append(account.balance_minor)
        self._chain(draft.id, lines, balances, digest=self._record(draft))
        return None

    def _reserve(
        self, draft: TransactionDraft, lines: Sequence[Line], *, expires_at: datetime
    ) -> Refusal | None:
        for count, (account, amount_minor) in enumerate(lines):
            refusal = _funds_refusal(account, amount_minor)
            if refusal is not None:
                for done, undone_minor in lines[:count]:
                    _add_pending(done, undone_minor, sign=-1)
                return refusal
            _add_pending(account, amount_minor, sign=1)
        for account, _ in lines:
            account.moved_at = self.now
        hold = Hold(
            transaction_id=draft.id,
            kind=draft.kind,
            lines=draft.entries,
            expires_at=expires_at,
            recorded_at=self.now,
            digest=self._record(draft),
        )
        self.holds.append(hold)
        return None

    def _let_go(self, hold_id: TransactionId, state: HoldState) -> Refusal | None:
        hold = self._loaded_holds.get(hold_id)
        if hold is None:
            return HoldNotFound(transaction_id=str(hold_id))
        refusal = end_refusal(hold)
        if refusal is not None:
            return refusal
        held = self._locked_lines(hold.lines)
        self._release(held)
        self._give_back(hold.kind, held, hold.recorded_at)
        self._end(hold, state, posted_minor=0)
        return None

    def _release(self, held: Iterable[Line]) -> None:
        for account, amount_minor in held:
            _add_pending(account, amount_minor, sign=-1)
            account.moved_at = self.now

    def _end(self, hold: Hold, state: HoldState, *, posted_minor: int) -> None:
        hold.state, hold.posted_minor, hold.ended_at = state, posted_minor, self.now
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
        lines: Sequence[Line],
        balances: Sequence[int],
        *,
        digest: bytes,
    ) -> None:
        for (account, amount_minor), balance_minor in zip(lines, balances, strict=True):
            account.sequence += 1
            account.last_hash = entry_hash(
                previous=account.last_hash,
                account_id=account.id,
                sequence=account.sequence,
                transaction_id=transaction_id,
                amount_minor=amount_minor,
                balance_after_minor=balance_minor,
                recorded_us=self._recorded_us,
                digest=digest,
            )
            account.moved_at = self.now
            self.entries.append(
                PostedEntry(
                    account.id,
                    account.sequence,
                    transaction_id,
                    amount_minor,
                    balance_minor,
                    account.last_hash,
                )
            )


def _not_open(lines: Iterable[Line]) -> Refusal | None:
    for account, amount_minor in lines:
        status = account.status
        if status is AccountStatus.OPEN:
            continue
        if status is AccountStatus.CLOSED:
            return AccountClosed(account_id=str(account.id))
        if status is AccountStatus.FROZEN or _flow(account, amount_minor) < 0:
            return AccountFrozen(account_id=str(account.id))
    return None


def _flows(lines: Iterable[Line]) -> list[Flow]:
    return [(account, _flow(account, amount_minor)) for account, amount_minor in lines]


def _flow(account: Account, amount_minor: int) -> int:
    """An entry seen from the account's owner: positive comes in, negative goes out."""
    return amount_minor if account.type.is_debit_normal else -amount_minor


def _funds_refusal(account: Account, amount_minor: int) -> Refusal | None:
    floor_minor = account.floor_minor
    if floor_minor is not None:
        flow = _flow(account, amount_minor)
        if flow < 0 and account.available_minor + flow < floor_minor:
            return InsufficientFunds()
    if amount_minor > 0:
        sums = account.posted_debits + account.pending_debits + amount_minor
    else:
        sums = account.posted_credits + account.pending_credits - amount_minor
    if sums > _MAX_SUM:
        return BalanceTooLarge()
    return None


def _add_posted(account: Account, amount_minor: int, *, sign: int) -> None:
    if amount_minor > 0:
        account.posted_debits += sign * amount_minor
    else:
        account.posted_credits -= sign * amount_minor


def _add_pending(account: Account, amount_minor: int, *, sign: int) -> None:
    if amount_minor > 0:
        account.pending_debits += sign * amount_minor
    else:
        account.pending_credits -= sign * amount_minor
