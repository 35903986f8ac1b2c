"""Which refusal wins when several would do: the order of the rules, as one table."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from guilder.kernel.currencies import CURRENCIES, INR
from guilder.kernel.errors import IdempotencyKeyReused, Refusal
from guilder.kernel.ids import AccountId, ControlId, UserId, WalletId
from guilder.kernel.invariant import InvariantViolation
from guilder.ledger.api import (
    AccountClosed,
    AccountFrozen,
    AccountStatus,
    ControlLimits,
    Direction,
    InsufficientFunds,
    LimitExceeded,
)
from guilder.ledger.domain.controls import Control
from guilder.payments.api import (
    CounterpartyLimited,
    CurrencyMismatch,
    FundingUnavailable,
    PaymentOrder,
)
from guilder.platform.identifiers import new_id
from guilder.wallets.api import WalletNotActive, WalletNotFound, WalletStatus
from tests.support.counter import ANNA, BEN, NOON, Counter, deposit, transfer, withdrawal

USD = CURRENCIES["USD"]
TOO_MUCH = 10_000


def limit_on(subject_id: UserId | WalletId, direction: Direction, most_minor: int) -> Control:
    return Control(
        id=ControlId(new_id()),
        subject_id=UserId(subject_id),
        currency=INR,
        direction=direction,
        limits=ControlLimits(per_transaction_minor=most_minor),
        time_zone="Asia/Kolkata",
        created_at=NOON,
        used_at=NOON,
    )


class Trouble:
    """An order with everything wrong with it; `mend` takes one thing after the other away."""

    def __init__(self) -> None:
        self.counter = Counter()
        ben = self.counter.open(BEN)
        self.wallet = self.counter.open(ANNA, funds_minor=500)
        done = self.counter.judge(transfer(self.wallet, ben, key="used", amount_minor=1))
        assert done[0].refusal is None
        self.limit(5_000)
        self.set_status(WalletStatus.CLOSED)
        self.order = transfer(
            WalletId(new_id()), ben, key="used", amount_minor=TOO_MUCH, currency=USD
        )

    def mend(self, **fields: object) -> None:
        self.order = msgspec.structs.replace(self.order, **fields)

    def set_status(self, status: WalletStatus) -> None:
        old = self.counter.wallets.pop(self.wallet)
        account = self.counter.accounts.pop(old.account_id)
        self.wallet = self.counter.open(
            ANNA, funds_minor=account.posted_credits - account.posted_debits, status=status
        )

    def limit(self, most_minor: int) -> None:
        self.counter.controls[:] = [limit_on(ANNA, Direction.OUTFLOW, most_minor)]

    def refusal(self) -> Refusal | None:
        return self.counter.judge(self.order)[0].refusal


def own_source(trouble: Trouble) -> None:
    trouble.mend(from_wallet_id=trouble.wallet)


def reopen(status: WalletStatus) -> Callable[[Trouble], None]:
    def set_it(trouble: Trouble) -> None:
        trouble.set_status(status)
        own_source(trouble)

    return set_it


MENDED_ONE_BY_ONE: list[tuple[type[Refusal] | None, Callable[[Trouble], None]]] = [
    (IdempotencyKeyReused, lambda trouble: trouble.mend(key="new-1")),
    (WalletNotFound, own_source),
    (CurrencyMismatch, lambda trouble: trouble.mend(currency=CURRENCIES["INR"])),
    (AccountClosed, reopen(WalletStatus.PENDING)),
    (WalletNotActive, reopen(WalletStatus.FROZEN)),
    (AccountFrozen, reopen(WalletStatus.ACTIVE)),
    (LimitExceeded, lambda trouble: trouble.limit(TOO_MUCH)),
    (InsufficientFunds, lambda trouble: trouble.mend(amount_minor=400)),
]


def test_of_everything_that_is_wrong_the_first_in_the_table_is_told():
    trouble = Trouble()

    told = []
    for number, (_, mend) in enumerate(MENDED_ONE_BY_ONE):
        refusal = trouble.refusal()
        told.append(type(refusal))
        mend(trouble)
        if number > 0:
            # what was kept as failed under a key would be told again
            trouble.mend(key=f"new-{number + 1}")

    assert told == [refusal for refusal, _ in MENDED_ONE_BY_ONE]
    assert trouble.refusal() is None


@pytest.mark.parametrize(
    ("owner", "field"), [("source", "from_wallet_id"), ("destination", "to_wallet_id")]
)
def test_a_transfer_needs_both_wallets_and_the_first_to_be_ones_own(owner: str, field: str):
    counter = Counter()
    annas, bens = counter.open(ANNA, funds_minor=500), counter.open(BEN, funds_minor=500)
    wrong = transfer(bens, annas) if owner == "source" else transfer(annas, WalletId(new_id()))

    (outcome,) = counter.judge(wrong)

    assert isinstance(outcome.refusal, WalletNotFound)
    assert outcome.refusal.details == {"field": field}
    assert outcome.refusal.turns_away is (owner == "source")
    assert outcome.payment is None


@pytest.mark.parametrize("make", [deposit, withdrawal])
def test_somebody_elses_wallet_takes_no_deposit_and_gives_nothing(
    make: Callable[..., PaymentOrder],
):
    counter = Counter()
    bens = counter.open(BEN, funds_minor=500)

    (outcome,) = counter.judge(make(bens))

    assert isinstance(outcome.refusal, WalletNotFound)
    assert outcome.refusal.turns_away
    assert counter.balance(bens) == 500


@pytest.mark.parametrize("make", [deposit, withdrawal])
def test_without_funding_nothing_comes_in_or_goes_out_and_the_key_stays_free(
    make: Callable[..., PaymentOrder],
):
    counter = Counter(has_funding=False)
    annas = counter.open(ANNA, funds_minor=500)

    (outcome,) = counter.judge(make(annas))

    assert isinstance(outcome.refusal, FundingUnavailable)
    assert outcome.payment is None
    assert counter.claims == {}


@pytest.mark.parametrize("side", ["source", "destination"])
@pytest.mark.parametrize(
    ("status", "refusal"),
    [
        (WalletStatus.PENDING, WalletNotActive),
        (WalletStatus.FROZEN, AccountFrozen),
        (WalletStatus.CLOSED, AccountClosed),
    ],
)
def test_a_wallet_that_is_not_active_neither_gives_nor_takes(
    status: WalletStatus, refusal: type[Refusal], side: str
):
    counter = Counter()
    unfit = counter.open(ANNA, status=status)
    other = counter.open(ANNA, funds_minor=500)
    ends = (unfit, other) if side == "source" else (other, unfit)

    (outcome,) = counter.judge(transfer(*ends))

    assert type(outcome.refusal) is refusal
    assert outcome.payment is not None
    assert outcome.payment.failure is outcome.refusal
    assert counter.balance(other) == 500


@pytest.mark.parametrize("status", [WalletStatus.PENDING, WalletStatus.FROZEN])
def test_the_refusal_names_the_wallet_that_is_not_active(status: WalletStatus):
    counter = Counter()
    annas, bens = counter.open(ANNA, funds_minor=500), counter.open(BEN, status=status)

    (outcome,) = counter.judge(transfer(annas, bens))

    assert outcome.refusal is not None
    assert outcome.refusal.details["wallet_id"] == str(bens)


def test_a_frozen_settlement_account_is_not_taken_for_the_wallet():
    counter = Counter()
    annas = counter.open(ANNA)
    for account in counter.accounts.values():
        if account.owner_id is None:
            account.status = AccountStatus.FROZEN

    (outcome,) = counter.judge(deposit(annas))

    assert isinstance(outcome.refusal, AccountFrozen)
    assert "wallet_id" not in outcome.refusal.details


def test_a_settlement_account_that_is_none_is_no_funding_and_leaves_the_key_free():
    counter = Counter()
    annas = counter.open(ANNA, funds_minor=500)
    outside = next(key for key, found in counter.accounts.items() if found.owner_id is None)
    missing = counter.accounts.pop(outside)
    order = deposit(annas)
    outcomes = [*counter.judge(order), *counter.judge(withdrawal(annas))]
    counter.accounts[outside] = missing
    missing.currency = USD
    outcomes += counter.judge(order)

    assert [type(outcome.refusal) for outcome in outcomes] == [FundingUnavailable] * 3
    assert [outcome.payment for outcome in outcomes] == [None] * 3
    missing.currency = INR
    assert counter.judge(order)[0].refusal is None


def test_a_wallet_whose_account_is_none_is_a_bug_that_moves_nothing():
    counter = Counter()
    annas, bens = counter.open(ANNA, funds_minor=500), counter.open(BEN)
    del counter.accounts[AccountId(bens)]

    with pytest.raises(InvariantViolation):
        counter.judge(transfer(annas, bens))

    assert counter.balance(annas) == 500


@pytest.mark.parametrize("amount_minor", [0, -1, -(10**15)])
def test_an_order_without_a_positive_amount_is_a_bug_that_moves_nothing(amount_minor: int):
    counter = Counter()
    annas, bens = counter.open(ANNA, funds_minor=500), counter.open(BEN, funds_minor=500)

    with pytest.raises(InvariantViolation):
        counter.judge(transfer(annas, bens, amount_minor=amount_minor))

    assert (counter.balance(annas), counter.balance(bens)) == (500, 500)


def test_an_order_that_ends_where_it_begins_is_a_bug_that_moves_nothing():
    counter = Counter()
    annas = counter.open(ANNA, funds_minor=500)

    with pytest.raises(InvariantViolation):
        counter.judge(transfer(annas, annas))

    assert counter.balance(annas) == 500


@pytest.mark.parametrize("is_on_wallet", [False, True])
def test_a_limit_of_somebody_else_is_told_without_its_figures(*, is_on_wallet: bool):
    counter = Counter()
    annas, bens = counter.open(ANNA, funds_minor=500), counter.open(BEN)
    counter.controls.append(limit_on(bens if is_on_wallet else BEN, Direction.INFLOW, 100))
    order = transfer(annas, bens, amount_minor=101)

    (outcome,) = counter.judge(order)

    assert isinstance(outcome.refusal, CounterpartyLimited)
    assert outcome.payment is not None
    assert outcome.refusal.details == {"transaction_id": str(outcome.payment.id)}


@pytest.mark.parametrize("is_on_wallet", [False, True])
def test_a_limit_of_ones_own_is_told_in_figures_wherever_the_money_goes(*, is_on_wallet: bool):
    counter = Counter()
    annas, savings = counter.open(ANNA, funds_minor=500), counter.open(ANNA)
    counter.controls.append(limit_on(savings if is_on_wallet else ANNA, Direction.INFLOW, 100))

    (outcome,) = counter.judge(transfer(annas, savings, amount_minor=101))

    assert isinstance(outcome.refusal, LimitExceeded)
    assert outcome.refusal.details["limit"] == "1.00"
