"""Random batches against a model of ten lines: what is in whose wallet, and nothing below zero."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from guilder.kernel.ids import WalletId
from guilder.ledger.api import Direction, InsufficientFunds
from guilder.payments.api import PaymentOrder, PaymentStatus, PaymentType
from guilder.payments.domain import movements
from tests.support.counter import (
    ANNA,
    BEN,
    Counter,
    deposit,
    funding,
    order,
    transfer,
    withdrawal,
)

WALLETS = 3
Step = tuple[PaymentType, int, int, int]
"""Kind, source, destination, amount; a wallet is a number below `WALLETS`."""

steps = st.tuples(
    st.sampled_from(PaymentType),
    st.integers(0, WALLETS - 1),
    st.integers(0, WALLETS - 1),
    st.integers(1, 120),
).filter(lambda step: step[0] is not PaymentType.TRANSFER or step[1] != step[2])
batches = st.lists(st.lists(steps, min_size=1, max_size=8), max_size=6)


def written(step: Step, wallets: Sequence[WalletId]) -> PaymentOrder:
    type_, source, destination, amount_minor = step
    if type_ is PaymentType.TRANSFER:
        return transfer(wallets[source], wallets[destination], amount_minor=amount_minor)
    if type_ is PaymentType.WITHDRAWAL:
        return withdrawal(wallets[source], amount_minor=amount_minor)
    return order(type_, to_wallet_id=wallets[source], amount_minor=amount_minor)


def model(balances: list[int], step: Step) -> bool:
    """Do one step in the model, or nothing when the money is not there."""
    type_, source, destination, amount_minor = step
    if type_ in {PaymentType.DEPOSIT, PaymentType.TOPUP}:
        balances[source] += amount_minor
        return True
    if balances[source] < amount_minor:
        return False
    balances[source] -= amount_minor
    if type_ is PaymentType.TRANSFER:
        balances[destination] += amount_minor
    return True


@given(batches)
def test_batches_do_what_the_model_does_and_money_is_conserved(batches: list[list[Step]]):
    counter = Counter()
    wallets = [counter.open(ANNA, funds_minor=0) for _ in range(WALLETS)]
    expected = [0] * WALLETS

    for batch in batches:
        outcomes = counter.judge(*(written(step, wallets) for step in batch))

        for step, outcome in zip(batch, outcomes, strict=True):
            passes = model(expected, step)
            assert outcome.payment is not None
            assert (outcome.payment.status is PaymentStatus.COMPLETED) == passes
            assert passes or isinstance(outcome.refusal, InsufficientFunds)
        assert [counter.balance(wallet) for wallet in wallets] == expected
        assert min(expected) >= 0

    debits = sum(account.posted_debits for account in counter.accounts.values())
    credits_ = sum(account.posted_credits for account in counter.accounts.values())
    assert debits == credits_


@given(batches, batches)
def test_how_orders_are_cut_into_batches_changes_nothing(
    batches: list[list[Step]], others: list[list[Step]]
):
    flat = [step for batch in batches for step in batch]
    sizes = [len(batch) for batch in others]

    def final(cut: list[list[Step]]) -> list[int]:
        counter = Counter()
        wallets = [counter.open(ANNA, funds_minor=100) for _ in range(WALLETS)]
        for batch in cut:
            counter.judge(*(written(step, wallets) for step in batch))
        return [counter.balance(wallet) for wallet in wallets]

    recut, rest = [], flat
    for size in sizes:
        recut.append(rest[:size])
        rest = rest[size:]

    assert final([*recut, rest]) == final(batches)


def test_an_order_announces_what_leaves_and_enters_which_account():
    counter = Counter()
    annas, bens = counter.open(ANNA), counter.open(BEN)
    outside = funding(counter.wallets[annas].currency)

    announced = [
        movements(made, funding=funding)
        for made in (deposit(annas), withdrawal(annas), transfer(annas, bens))
    ]

    assert announced == [
        # Outside money is an asset of the platform: what a wallet gives to it enters there, too.
        [(outside, Direction.INFLOW, "deposit"), (annas, Direction.INFLOW, "deposit")],
        [(annas, Direction.OUTFLOW, "withdrawal"), (outside, Direction.OUTFLOW, "withdrawal")],
        [(annas, Direction.OUTFLOW, "transfer"), (bens, Direction.INFLOW, "transfer")],
    ]


def test_without_funding_only_the_wallet_moves():
    counter = Counter()
    annas = counter.open(ANNA)

    announced = movements(deposit(annas), funding=lambda currency: None)

    assert announced == [(annas, Direction.INFLOW, "deposit")]


def test_orders_of_a_batch_see_what_came_before_them():
    counter = Counter()
    annas, bens = counter.open(ANNA), counter.open(BEN)

    outcomes = counter.judge(
        transfer(annas, bens, amount_minor=500),
        deposit(annas, amount_minor=500),
        transfer(annas, bens, amount_minor=500),
        transfer(annas, bens, amount_minor=1),
    )

    refused = [outcome.refusal is not None for outcome in outcomes]
    assert refused == [True, False, False, True]
    assert (counter.balance(annas), counter.balance(bens)) == (0, 500)
