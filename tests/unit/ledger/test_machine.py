"""The book against a model of ten lines: whatever happens, in whatever order, both agree."""

from __future__ import annotations

from copy import copy
from datetime import timedelta
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from guilder.kernel.ids import AccountId, TransactionId
from guilder.ledger.api import ReversalDraft, TransactionDraft
from guilder.ledger.domain.book import LockedBook
from guilder.ledger.domain.holds import Hold
from guilder.ledger.domain.reversals import Original
from tests.support.books import ANNA, BANK, BEN, CARLA, NOON, account, bank, transfer

PEOPLE = (ANNA, BEN, CARLA)
_person = st.sampled_from(PEOPLE)
_amount = st.integers(1, 120)


class Model:
    """Balances and holds as one would keep them on paper."""

    def __init__(self) -> None:
        self.balance = dict.fromkeys(PEOPLE, 200)
        self.held = dict.fromkeys(PEOPLE, 0)

    def can_pay(self, who: AccountId, amount: int) -> bool:
        return self.balance[who] - self.held[who] >= amount

    def pay(self, source: AccountId, target: AccountId, amount: int) -> None:
        self.balance[source] -= amount
        self.balance[target] += amount


class Books(RuleBasedStateMachine):
    """Every rule opens a book as the database would give it, acts, and keeps what was written."""

    holds: Bundle[Hold] = Bundle("holds")
    posted: Bundle[Original] = Bundle("posted")

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.now = NOON
        accounts = [account(who, posted_credits=200) for who in PEOPLE]
        self.accounts = {a.id: a for a in [*accounts, bank(posted_debits=600)]}
        self.sequences = dict.fromkeys(self.accounts, 0)

    def open(self, **loaded: Any) -> LockedBook:
        self.now += timedelta(seconds=1)
        accounts = [copy(each) for each in self.accounts.values()]
        return LockedBook(accounts=accounts, now=self.now, **loaded)

    def keep(self, book: LockedBook) -> None:
        for written in book.changed_accounts:
            self.accounts[written.id] = written
        for entry in book.entries:
            self.sequences[entry.account_id] += 1
            assert entry.sequence == self.sequences[entry.account_id]

    @rule(target=posted, source=_person, to=_person, amount=_amount)
    def pay(self, source: AccountId, to: AccountId, amount: int) -> Any:
        book, draft = self.open(), transfer(amount, source, to)
        refusal = book.post(draft)
        assert (refusal is None) == self.model.can_pay(source, amount)
        self.keep(book)
        if refusal is None:
            self.model.pay(source, to, amount)
        entries = draft.entries if refusal is None else ()
        return Original(id=draft.id, kind=draft.kind, recorded_at=book.now, entries=entries)

    @rule(steps=st.lists(st.tuples(_person, _person, _amount), min_size=1, max_size=4))
    def pay_linked(self, steps: list[tuple[AccountId, AccountId, int]]) -> None:
        book = self.open()
        drafts: list[TransactionDraft] = [transfer(n, a, b) for a, b, n in steps]
        before = dict(self.model.balance)
        possible = True
        for a, b, n in steps:
            possible = possible and self.model.can_pay(a, n)
            self.model.pay(a, b, n)
        if not possible:
            self.model.balance = before
        assert (book.post_linked(drafts) is None) == possible
        self.keep(book)

    @rule(target=holds, source=_person, to=_person, amount=_amount, minutes=st.integers(1, 3))
    def hold(self, source: AccountId, to: AccountId, amount: int, minutes: int) -> Any:
        book = self.open()
        draft = transfer(amount, source, to, expires_at=self.now + timedelta(minutes=minutes))
        refusal = book.post(draft)
        assert (refusal is None) == self.model.can_pay(source, amount)
        self.keep(book)
        if refusal is None:
            self.model.held[source] += amount
            return book.holds[0]
        return None

    @rule(hold=consumes(holds), share=st.integers(0, 130))
    def settle(self, hold: Hold | None, share: int) -> None:
        if hold is None:
            return
        source, to = (line.account_id for line in hold.lines)
        amount = hold.amount_minor * share // 100
        book = self.open(holds=[hold])
        refusal = book.settle(hold.transaction_id, amount_minor=amount)
        is_possible = 0 < amount <= hold.amount_minor and self.now < hold.expires_at
        assert (refusal is None) == is_possible
        if not is_possible:
            ended = book.expire if self.now >= hold.expires_at else book.void
            assert ended(hold.transaction_id) is None
        self.keep(book)
        self.model.held[source] -= hold.amount_minor
        if is_possible:
            self.model.pay(source, to, amount)

    @rule(minutes=st.integers(1, 4))
    def wait(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(original=posted, amount=st.one_of(st.none(), _amount))
    def reverse(self, original: Original, amount: int | None) -> None:
        book = self.open(originals=[original])
        left = sum(max(0, entry.amount_minor) for entry in original.remaining())
        draft = ReversalDraft(
            id=TransactionId(transfer(1).id), original_id=original.id, amount_minor=amount
        )
        refusal = book.reverse(draft)
        undone = left if amount is None else amount
        lines = original.entries
        is_possible = 0 < undone <= left and (
            self.model.can_pay(lines[1].account_id, undone)
            or lines[0].account_id == lines[1].account_id
        )
        assert (refusal is None) == is_possible
        self.keep(book)
        if is_possible:
            self.model.pay(lines[1].account_id, lines[0].account_id, undone)

    @invariant()
    def the_book_agrees_with_the_model(self) -> None:
        for who in PEOPLE:
            assert self.accounts[who].balance_minor == self.model.balance[who]
            assert self.accounts[who].held_minor == self.model.held[who]

    @invariant()
    def money_is_conserved_and_nobody_is_below_the_floor(self) -> None:
        accounts = self.accounts.values()
        assert sum(a.posted_debits - a.posted_credits for a in accounts) == 0
        assert sum(a.pending_debits - a.pending_credits for a in accounts) == 0
        assert all(self.accounts[who].available_minor >= 0 for who in PEOPLE)

    @invariant()
    def the_bank_was_not_touched(self) -> None:
        assert self.accounts[BANK].balance_minor == 600


Books.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestBooks = Books.TestCase
