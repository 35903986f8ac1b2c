"""Idempotency keys: the same again, after a day, with another payload, and equal keys in a batch.

Scenarios B (several at once) and C (a crash) need a database and stand in the integration tests.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.kernel.currencies import CURRENCIES
from guilder.kernel.errors import IdempotencyKeyReused
from guilder.kernel.ids import TransactionId, WalletId
from guilder.ledger.api import InsufficientFunds
from guilder.payments.api import PaymentStatus, PaymentType
from guilder.payments.domain import Numbered
from guilder.platform.identifiers import new_id
from tests.support.counter import ANNA, BEN, Counter, deposit, transfer


@pytest.fixture
def counter() -> Counter:
    return Counter()


def test_scenario_a_the_same_key_twice_moves_money_once(counter: Counter):
    annas, bens = counter.open(ANNA, funds_minor=500), counter.open(BEN)
    sent = transfer(annas, bens, amount_minor=200)

    (first,), (second,) = counter.judge(sent), counter.judge(sent)

    assert second.payment == first.payment
    assert (first.is_replay, second.is_replay) == (False, True)
    assert counter.balance(annas) == 300


def test_scenario_a_holds_within_one_batch(counter: Counter):
    annas, bens = counter.open(ANNA, funds_minor=500), counter.open(BEN)
    sent = transfer(annas, bens, amount_minor=200)

    outcomes = counter.judge(sent, sent, sent)

    assert [outcome.is_replay for outcome in outcomes] == [False, True, True]
    assert len({outcome.payment.id for outcome in outcomes if outcome.payment}) == 1
    assert counter.balance(bens) == 200


def test_a_refusal_that_was_kept_is_replayed_though_the_money_is_there_by_now(counter: Counter):
    annas, bens = counter.open(ANNA), counter.open(BEN)
    sent = transfer(annas, bens, amount_minor=200)

    (first,) = counter.judge(sent)
    counter.judge(deposit(annas, amount_minor=1_000))
    (second,) = counter.judge(sent)

    assert isinstance(first.refusal, InsufficientFunds)
    assert second.refusal is first.refusal
    assert second.is_replay
    assert second.payment is not None
    assert second.payment.status is PaymentStatus.FAILED
    assert counter.balance(annas) == 1_000


def test_scenario_d_a_key_that_is_not_known_any_more_is_new(counter: Counter):
    annas, bens = counter.open(ANNA, funds_minor=500), counter.open(BEN)
    sent = transfer(annas, bens, amount_minor=200)

    (first,) = counter.judge(sent)
    counter.claims.clear()
    (second,) = counter.judge(sent)

    assert first.payment is not None
    assert second.payment is not None
    assert second.payment.id != first.payment.id
    assert not second.is_replay
    assert counter.balance(bens) == 400


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("amount", {"amount_minor": 201}),
        ("currency", {"currency": CURRENCIES["USD"]}),
        ("description", {"description": "Rent"}),
        ("type", {"type": PaymentType.TOPUP}),
        ("from_wallet_id", {"from_wallet_id": WalletId(new_id())}),
        ("to_wallet_id", {"to_wallet_id": WalletId(new_id())}),
    ],
)
@pytest.mark.parametrize("in_one_batch", [False, True])
def test_scenario_e_another_payload_under_the_key_is_refused_and_the_field_named(
    counter: Counter, field: str, other: dict[str, Any], in_one_batch: bool
):
    annas, bens = counter.open(ANNA, funds_minor=500), counter.open(BEN)
    sent = transfer(annas, bens, amount_minor=200)
    changed = msgspec.structs.replace(sent, **other)

    if in_one_batch:
        _, second = counter.judge(sent, changed)
    else:
        counter.judge(sent)
        (second,) = counter.judge(changed)

    assert isinstance(second.refusal, IdempotencyKeyReused)
    assert list(second.refusal.details["fields"]) == [field]
    assert second.payment is None
    assert counter.balance(annas) == 300


def test_a_key_belongs_to_its_caller(counter: Counter):
    annas, bens = counter.open(ANNA, funds_minor=500), counter.open(BEN, funds_minor=500)

    outcomes = counter.judge(
        transfer(annas, bens, key="rent", amount_minor=200),
        transfer(bens, annas, BEN, key="rent", amount_minor=50),
    )

    assert [outcome.is_replay for outcome in outcomes] == [False, False]
    assert (counter.balance(annas), counter.balance(bens)) == (350, 650)


def test_an_order_that_was_unfit_leaves_its_key_free(counter: Counter):
    annas, bens = counter.open(ANNA, funds_minor=500), counter.open(BEN)
    unfit = transfer(annas, WalletId(new_id()), key="rent")

    (refused,) = counter.judge(unfit)
    (done,) = counter.judge(transfer(annas, bens, key="rent"))

    assert refused.payment is None
    assert done.refusal is None
    assert not done.is_replay


def test_the_answer_that_was_lost_after_a_commit_is_no_replay(counter: Counter):
    """The same attempt looks again after its connection broke: its own payment is there."""
    annas, bens = counter.open(ANNA, funds_minor=500), counter.open(BEN)
    attempt = Numbered(TransactionId(new_id()), transfer(annas, bens, amount_minor=200))

    first = counter.decide([attempt])
    again = counter.decide([attempt])

    assert again.outcomes == first.outcomes
    assert again.made == []
    assert counter.balance(annas) == 300


@given(
    keys=st.lists(st.sampled_from("abcde"), min_size=1, max_size=30),
    cuts=st.sets(st.integers(1, 29)),
)
def test_each_key_has_one_effect_however_its_repetitions_fall_into_batches(
    keys: list[str], cuts: set[int]
):
    counter = Counter()
    annas, bens = counter.open(ANNA, funds_minor=300), counter.open(BEN)
    orders = [
        transfer(annas, bens, key=key, amount_minor=50 * (1 + "abcde".index(key))) for key in keys
    ]
    edges = [0, *sorted(cut for cut in cuts if cut < len(orders)), len(orders)]

    outcomes = []
    for start, end in pairwise(edges):
        outcomes += counter.judge(*orders[start:end])

    answers: dict[str, set[str]] = {}
    for key, outcome in zip(keys, outcomes, strict=True):
        assert outcome.payment is not None
        answers.setdefault(key, set()).add(str(outcome.payment.id))
    assert all(len(ids) == 1 for ids in answers.values())
    fresh = [outcome for outcome in outcomes if not outcome.is_replay]
    assert len(fresh) == len(set(keys))
    moved = sum(
        outcome.payment.order.amount_minor
        for outcome in fresh
        if outcome.payment and outcome.refusal is None
    )
    assert (counter.balance(annas), counter.balance(bens)) == (300 - moved, moved)
