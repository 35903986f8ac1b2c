"""What a book lets happen, in which order it refuses, and what it leaves behind."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from guilder.kernel.currencies import CURRENCIES
from guilder.kernel.errors import Refusal, ValidationFailed
from guilder.kernel.ids import AccountId, TransactionId
from guilder.kernel.invariant import InvariantViolation
from guilder.kernel.money import MAX_AMOUNT_MINOR
from guilder.ledger.api import (
    AccountClosed,
    AccountFrozen,
    AccountNotFound,
    AccountStatus,
    AmountExceedsOriginal,
    BalanceTooLarge,
    ControlLimits,
    Direction,
    HoldEnded,
    HoldExpired,
    HoldNotFound,
    InsufficientFunds,
    LimitExceeded,
    Movement,
    ReversalDraft,
    TransactionNotFound,
    Unbalanced,
)
from guilder.ledger.domain.book import LockedBook
from guilder.ledger.domain.holds import HoldState
from guilder.ledger.domain.reversals import Original
from tests.support.books import (
    ANNA,
    BANK,
    BEN,
    CARLA,
    EUROS,
    NOON,
    account,
    bank,
    control,
    draft,
    next_book,
    people,
    transfer,
)

LATER = NOON + timedelta(hours=1)
NOBODY = AccountId(UUID(int=99))
POSITION = AccountId(UUID(int=6))


def book(**anna: Any) -> LockedBook:
    return LockedBook(accounts=people(**anna), now=NOON)


def balances(of: LockedBook) -> list[int]:
    found = [of.account(each) for each in (ANNA, BEN, CARLA)]
    return [each.balance_minor for each in found if each is not None]


def test_a_transfer_moves_money_and_chains_its_entries():
    here = book()

    assert here.post(transfer(300)) is None

    assert balances(here) == [700, 300, 0]
    assert [(e.account_id, e.sequence, e.balance_after_minor) for e in here.entries] == [
        (ANNA, 1, 700),
        (BEN, 1, 300),
    ]
    assert {each.id for each in here.changed_accounts} == {ANNA, BEN}
    assert here.opened_accounts == []


@pytest.mark.parametrize(
    ("entries", "refusal"),
    [
        ((), Unbalanced),
        (((ANNA, 5),), Unbalanced),
        (((ANNA, 5), (BEN, -4)), Unbalanced),
        (((ANNA, 0), (BEN, 0)), Unbalanced),
        (((ANNA, MAX_AMOUNT_MINOR + 1), (BEN, -MAX_AMOUNT_MINOR - 1)), Unbalanced),
        (((ANNA, 5), (EUROS, -5)), Unbalanced),
        (((ANNA, 5), (NOBODY, -5)), AccountNotFound),
    ],
)
def test_a_misshapen_transaction_is_refused_and_changes_nothing(
    entries: tuple[tuple[AccountId, int], ...], refusal: type[Refusal]
):
    accounts = [*people(), account(EUROS, currency=CURRENCIES["EUR"])]
    here = LockedBook(accounts=accounts, now=NOON)

    assert isinstance(here.post(draft(*entries)), refusal)

    assert balances(here) == [1_000, 0, 0]
    assert not here.transactions
    assert not here.changed_accounts


def test_several_currencies_balance_each_on_its_own():
    euro = CURRENCIES["EUR"]
    accounts = [
        *people(),
        account(EUROS, currency=euro),
        bank(POSITION, currency=euro),
    ]
    here = LockedBook(accounts=accounts, now=NOON)
    exchange = draft((ANNA, 900), (BANK, -900), (POSITION, 10), (EUROS, -10))

    assert here.post(exchange) is None
    assert isinstance(here.post(draft((ANNA, 10), (EUROS, -10))), Unbalanced)


@pytest.mark.parametrize(
    ("status", "out", "into"),
    [
        (AccountStatus.OPEN, type(None), type(None)),
        (AccountStatus.FROZEN_FOR_DEBITS, AccountFrozen, type(None)),
        (AccountStatus.FROZEN, AccountFrozen, AccountFrozen),
        (AccountStatus.CLOSED, AccountClosed, AccountClosed),
    ],
)
def test_a_status_says_what_may_still_happen(status: AccountStatus, out: type, into: type):
    assert isinstance(book(status=status).post(transfer(1)), out)
    assert isinstance(book(status=status).post(draft((BANK, 1), (ANNA, -1))), into)


def test_money_that_is_not_there_cannot_leave():
    here = book()

    assert isinstance(here.post(transfer(1_001)), InsufficientFunds)
    assert here.post(transfer(1_000)) is None
    assert isinstance(here.post(transfer(1)), InsufficientFunds)
    assert balances(here) == [0, 1_000, 0]


def test_a_book_posts_only_what_was_announced():
    announced = [
        Movement(ANNA, Direction.OUTFLOW, "transfer"),
        Movement(BEN, Direction.INFLOW, "transfer"),
    ]
    here = LockedBook(accounts=people(), now=NOON, movements=announced)

    assert here.post(transfer(1)) is None
    with pytest.raises(InvariantViolation):
        here.post(transfer(1, BEN, ANNA))
    with pytest.raises(InvariantViolation):
        here.post(transfer(1, kind="withdrawal"))


def test_a_floor_below_zero_is_an_overdraft():
    here = book(floor_minor=-500)

    assert here.post(transfer(1_500)) is None
    assert isinstance(here.post(transfer(1)), InsufficientFunds)


def test_an_account_without_a_floor_goes_as_low_as_it_must():
    assert book().post(draft((ANNA, 5), (BANK, -5))) is None
    assert book(floor_minor=None).post(transfer(10_000)) is None


def test_a_refused_entry_takes_back_those_before_it():
    here = book()
    split = draft((ANNA, 600), (BEN, -600), (ANNA, 600), (CARLA, -600))

    assert isinstance(here.post(split), InsufficientFunds)

    assert balances(here) == [1_000, 0, 0]
    assert not here.entries


def test_sums_that_would_leave_their_range_are_refused():
    full = 2**62
    here = LockedBook(
        accounts=[account(ANNA, posted_credits=full), bank(posted_debits=full)], now=NOON
    )

    assert isinstance(here.post(draft((BANK, 1), (ANNA, -1))), BalanceTooLarge)
    assert isinstance(here.post(draft((ANNA, -1), (BANK, 1))), BalanceTooLarge)


def test_linked_transactions_are_all_posted_or_none():
    limit = control(limits=ControlLimits(per_day_minor=900))
    here = LockedBook(accounts=people(), controls=[limit], now=NOON)
    held = transfer(10, expires_at=LATER)

    refused = here.post_linked([transfer(400), held, transfer(400), transfer(200)])

    assert refused is not None
    assert (refused[0], type(refused[1])) == (3, LimitExceeded)
    assert balances(here) == [1_000, 0, 0]
    assert (here.transactions, here.entries, here.holds) == ([], [], [])
    assert here.post_linked([transfer(400), held, transfer(490)]) is None
    assert balances(here) == [110, 890, 0]


def test_linked_transactions_see_each_other():
    here = book()

    assert here.post_linked([transfer(1_000), transfer(1_000, BEN, CARLA)]) is None
    assert balances(here) == [0, 0, 1_000]


def test_a_link_to_an_account_that_does_not_exist_is_refused():
    refused = book().post_linked([transfer(1), transfer(1, ANNA, NOBODY)])

    assert refused is not None
    assert isinstance(refused[1], AccountNotFound)


def held(amount: int = 600, *, now: datetime = NOON) -> tuple[LockedBook, TransactionId]:
    """A book that was opened with a hold on Anna's money for Ben."""
    before = book()
    hold = transfer(amount, expires_at=LATER)
    assert before.post(hold) is None
    return next_book(before, now=now, holds=before.holds), hold.id


def test_a_hold_reserves_what_it_holds_and_moves_nothing():
    here, _ = held(600)

    anna = here.account(ANNA)
    assert anna is not None
    assert (anna.balance_minor, anna.held_minor, anna.available_minor) == (1_000, 600, 400)
    assert isinstance(here.post(transfer(401)), InsufficientFunds)
    assert isinstance(here.post(transfer(1, BEN, CARLA)), InsufficientFunds)
    assert isinstance(here.post(transfer(401, expires_at=LATER)), InsufficientFunds)


@pytest.mark.parametrize("pending", [{}, {"expires_at": NOON + timedelta(hours=1)}])
def test_nothing_takes_effect_after_it_is_recorded(pending: dict[str, datetime]):
    book = LockedBook(accounts=people(), now=NOON)
    late = transfer(100, effective_at=NOON + timedelta(microseconds=1), **pending)

    refusal = book.post(late)

    assert isinstance(refusal, ValidationFailed)
    assert refusal.details["fields"] == {"effective_at": "must not lie in the future"}
    assert book.post(transfer(100, effective_at=NOON, **pending)) is None


def test_a_refused_hold_takes_back_what_it_reserved():
    here = book()
    split = draft((ANNA, 600), (BEN, -600), (ANNA, 600), (CARLA, -600), expires_at=LATER)

    assert isinstance(here.post(split), InsufficientFunds)

    anna = here.account(ANNA)
    assert anna is not None
    assert anna.pending_debits == 0
    assert not here.holds


def test_a_hold_ends_after_it_begins_and_has_one_currency():
    accounts = [
        *people(),
        account(EUROS, currency=CURRENCIES["EUR"], floor_minor=None),
    ]
    here = LockedBook(accounts=accounts, now=NOON)
    mixed = draft((ANNA, 5), (BEN, -5), (EUROS, 5), (EUROS, -5), expires_at=LATER)

    assert isinstance(here.post(mixed), Unbalanced)
    assert isinstance(here.post(transfer(5, expires_at=NOON)), HoldExpired)


@pytest.mark.parametrize(("amount", "left"), [(None, [400, 600, 0]), (250, [750, 250, 0])])
def test_a_settled_hold_posts_its_part_and_frees_the_rest(amount: int | None, left: list[int]):
    here, hold_id = held(600)

    assert here.settle(hold_id, amount_minor=amount) is None

    anna = here.account(ANNA)
    assert anna is not None
    assert balances(here) == left
    assert (anna.pending_debits, anna.available_minor) == (0, left[0])
    assert here.ended_holds[0].state is HoldState.POSTED
    assert {each.id for each in here.changed_accounts} == {ANNA, BEN}


def test_a_part_too_small_for_a_line_leaves_that_line_out():
    before = book()
    hold = draft((ANNA, 3), (BEN, -2), (CARLA, -1), expires_at=LATER)
    assert before.post(hold) is None
    here = next_book(before, now=NOON, holds=before.holds)

    assert here.settle(hold.id, amount_minor=1) is None

    assert balances(here) == [999, 1, 0]
    assert len(here.entries) == 2


def test_a_hold_ends_once():
    here, hold_id = held(600)

    assert here.void(hold_id) is None

    assert isinstance(here.settle(hold_id), HoldEnded)
    assert isinstance(here.void(hold_id), HoldEnded)
    assert here.account(ANNA) == account(
        ANNA,
        owner_id=people()[0].owner_id,
        posted_credits=1_000,
        moved_at=here.now,
    )


def test_no_more_and_no_less_than_something_held_is_posted():
    here, hold_id = held(600)

    assert isinstance(here.settle(hold_id, amount_minor=601), AmountExceedsOriginal)
    assert isinstance(here.settle(hold_id, amount_minor=0), AmountExceedsOriginal)


def test_a_hold_is_not_posted_from_a_frozen_account():
    here, hold_id = held(600)
    anna = here.account(ANNA)
    assert anna is not None
    anna.status = AccountStatus.FROZEN

    assert isinstance(here.settle(hold_id), AccountFrozen)
    assert here.void(hold_id) is None


def test_a_hold_whose_time_is_over_expires_and_nothing_else():
    here, hold_id = held(600, now=LATER)

    assert isinstance(here.settle(hold_id), HoldExpired)
    assert here.expire(hold_id) is None
    assert isinstance(here.expire(hold_id), HoldExpired)
    assert isinstance(here.void(hold_id), HoldExpired)
    anna = here.account(ANNA)
    assert anna is not None
    assert anna.available_minor == 1_000


def test_a_hold_does_not_expire_early():
    here, hold_id = held(600)

    with pytest.raises(InvariantViolation):
        here.expire(hold_id)


def test_a_hold_that_does_not_exist_cannot_end():
    nothing = transfer(1).id
    here = book()

    for refusal in (here.settle(nothing), here.void(nothing), here.expire(nothing)):
        assert isinstance(refusal, HoldNotFound)


def posted(amount: int = 900, **fields: Any) -> tuple[LockedBook, Original]:
    """A book that was opened to reverse a transfer from Anna to Ben and Carla."""
    before = book()
    third = amount // 3
    split = draft((ANNA, amount), (BEN, third - amount), (CARLA, -third))
    assert before.post(split) is None
    original = Original(
        id=split.id, kind=split.kind, recorded_at=NOON, entries=split.entries, **fields
    )
    return next_book(before, now=NOON, originals=[original]), original


def reversal(original: Original, amount: int | None = None) -> ReversalDraft:
    return ReversalDraft(id=transfer(1).id, original_id=original.id, amount_minor=amount)


def test_a_reversal_undoes_all_that_is_left():
    here, original = posted(900)

    assert here.reverse(reversal(original, 100)) is None
    assert balances(here) == [200, 533, 267]
    assert here.reverse(reversal(original)) is None

    assert balances(here) == [1_000, 0, 0]
    assert isinstance(here.reverse(reversal(original)), AmountExceedsOriginal)
    named = here.transactions[0].draft.reverses
    assert named is not None
    assert named.id == original.id


def test_a_reversal_of_money_already_spent_is_refused_and_leaves_all_to_reverse():
    here, original = posted(900)
    assert here.post(transfer(600, BEN, ANNA)) is None

    assert isinstance(here.reverse(reversal(original)), InsufficientFunds)

    assert original.reversing == ()


def test_only_what_exists_is_reversed():
    assert isinstance(book().reverse(reversal(posted()[1])), TransactionNotFound)


def test_a_limit_counts_what_leaves_and_a_reversal_gives_it_back():
    limit = control(limits=ControlLimits(per_day_minor=1_000))
    here = LockedBook(accounts=people(posted_credits=5_000), controls=[limit], now=NOON)
    paid = transfer(700)

    assert here.post(paid) is None
    assert isinstance(here.post(transfer(301)), LimitExceeded)
    original = Original(id=paid.id, kind=paid.kind, recorded_at=NOON, entries=paid.entries)
    later = next_book(here, now=NOON, controls=here.changed_controls, originals=[original])
    assert later.reverse(reversal(original, 200)) is None
    assert later.post(transfer(500)) is None
    assert isinstance(later.post(transfer(1)), LimitExceeded)


def test_a_hold_counts_when_it_is_opened_and_gives_back_what_it_does_not_post():
    limit = control(limits=ControlLimits(per_day_minor=600))
    here = LockedBook(accounts=people(), controls=[limit], now=NOON)
    hold = transfer(600, expires_at=LATER)
    assert here.post(hold) is None
    assert isinstance(here.post(transfer(1)), LimitExceeded)
    later = next_book(here, now=NOON, controls=here.changed_controls, holds=here.holds)

    assert later.settle(hold.id, amount_minor=150) is None

    assert later.post(transfer(450)) is None
    assert isinstance(later.post(transfer(1)), LimitExceeded)


def test_a_limit_on_what_comes_in_sees_only_that():
    limit = control(
        subject_id=BEN, direction=Direction.INFLOW, limits=ControlLimits(per_transaction_minor=100)
    )
    here = LockedBook(accounts=people(), controls=[limit], now=NOON)

    assert here.post(transfer(100)) is None
    assert here.post(transfer(100, BEN, CARLA)) is None
    assert isinstance(here.post(transfer(101)), LimitExceeded)


def test_a_limit_holds_for_its_kinds_and_its_currency_only():
    euro = CURRENCIES["EUR"]
    controls = [
        control(kinds=frozenset({"gift"}), limits=ControlLimits(per_transaction_minor=10)),
        control(currency=euro, limits=ControlLimits(per_transaction_minor=10)),
    ]
    here = LockedBook(accounts=people(), controls=controls, now=NOON)

    assert here.post(transfer(11, kind="rent")) is None
    assert isinstance(here.post(transfer(11, kind="gift")), LimitExceeded)


def test_one_account_twice_in_a_transaction_counts_twice():
    limit = control(subject_id=ANNA, limits=ControlLimits(per_transaction_minor=100))
    here = LockedBook(accounts=people(), controls=[limit], now=NOON)
    twice = draft((ANNA, 60), (BEN, -60), (ANNA, 60), (CARLA, -60))

    assert isinstance(here.post(twice), LimitExceeded)


def test_a_refused_posting_uses_nothing_of_a_limit():
    limit = control(limits=ControlLimits(per_day_minor=5_000))
    here = LockedBook(accounts=people(), controls=[limit], now=NOON)

    assert isinstance(here.post(transfer(2_000)), InsufficientFunds)
    assert limit.day_used_minor == 0


def test_time_never_runs_backwards_in_an_account_or_a_control():
    ahead = NOON + timedelta(hours=3)

    assert book(moved_at=ahead).now == ahead
    assert LockedBook(accounts=people(), controls=[control(used_at=ahead)], now=NOON).now == ahead


def test_checks_have_their_order():
    limit = control(limits=ControlLimits(per_transaction_minor=1))
    poor = people(status=AccountStatus.FROZEN, posted_credits=0)
    here = LockedBook(accounts=poor, controls=[limit], now=NOON)
    anna = here.account(ANNA)
    assert anna is not None

    assert isinstance(here.post(draft((ANNA, 5), (BEN, -4))), Unbalanced)
    assert isinstance(here.post(transfer(5)), AccountFrozen)
    anna.status = AccountStatus.OPEN
    assert isinstance(here.post(transfer(5)), LimitExceeded)
    limit.limits = ControlLimits()
    assert isinstance(here.post(transfer(5)), InsufficientFunds)
