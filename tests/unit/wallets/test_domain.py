"""Which standing may follow which, and the limits that an owner starts with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.kernel.currencies import CURRENCIES
from guilder.kernel.errors import Conflict, Refusal
from guilder.kernel.ids import UserId
from guilder.ledger.api import Direction
from guilder.platform.identifiers import new_id
from guilder.wallets.api import WalletClosed, WalletFrozenByStaff, WalletNotActive, WalletStatus
from guilder.wallets.domain import (
    Act,
    StandingWallet,
    next_standing,
    starting_controls,
    starting_limits,
)

PENDING = StandingWallet(status=WalletStatus.PENDING)
ACTIVE = StandingWallet(status=WalletStatus.ACTIVE)
FROZEN = StandingWallet(status=WalletStatus.FROZEN)
SEIZED = StandingWallet(status=WalletStatus.FROZEN, frozen_by_staff=True)
CLOSED = StandingWallet(status=WalletStatus.CLOSED)

BY_OWNER = [
    (PENDING, Act.ACTIVATE, ACTIVE),
    (PENDING, Act.FREEZE, WalletNotActive),
    (PENDING, Act.UNFREEZE, WalletNotActive),
    (PENDING, Act.CLOSE, CLOSED),
    (ACTIVE, Act.ACTIVATE, ACTIVE),
    (ACTIVE, Act.FREEZE, FROZEN),
    (ACTIVE, Act.UNFREEZE, ACTIVE),
    (ACTIVE, Act.CLOSE, CLOSED),
    (FROZEN, Act.ACTIVATE, Conflict),
    (FROZEN, Act.FREEZE, FROZEN),
    (FROZEN, Act.UNFREEZE, ACTIVE),
    (FROZEN, Act.CLOSE, CLOSED),
    (SEIZED, Act.ACTIVATE, Conflict),
    (SEIZED, Act.FREEZE, SEIZED),
    (SEIZED, Act.UNFREEZE, WalletFrozenByStaff),
    (SEIZED, Act.CLOSE, WalletFrozenByStaff),
    (CLOSED, Act.ACTIVATE, WalletClosed),
    (CLOSED, Act.FREEZE, WalletClosed),
    (CLOSED, Act.UNFREEZE, WalletClosed),
    (CLOSED, Act.CLOSE, CLOSED),
]
BY_STAFF = [
    (PENDING, Act.FREEZE, SEIZED),
    (ACTIVE, Act.FREEZE, SEIZED),
    (FROZEN, Act.FREEZE, SEIZED),
    (SEIZED, Act.FREEZE, SEIZED),
    (CLOSED, Act.FREEZE, WalletClosed),
    (PENDING, Act.UNFREEZE, WalletNotActive),
    (ACTIVE, Act.UNFREEZE, ACTIVE),
    (FROZEN, Act.UNFREEZE, ACTIVE),
    (SEIZED, Act.UNFREEZE, ACTIVE),
    (SEIZED, Act.CLOSE, CLOSED),
    (CLOSED, Act.UNFREEZE, WalletClosed),
]


def named(outcome: StandingWallet | Refusal) -> StandingWallet | type[Refusal]:
    return type(outcome) if isinstance(outcome, Refusal) else outcome


@pytest.mark.parametrize(("standing", "act", "expected"), BY_OWNER)
def test_what_an_owner_may_do(
    standing: StandingWallet, act: Act, expected: StandingWallet | type[Refusal]
):
    assert named(next_standing(standing, act, by_staff=False)) == expected


@pytest.mark.parametrize(("standing", "act", "expected"), BY_STAFF)
def test_what_staff_may_do(
    standing: StandingWallet, act: Act, expected: StandingWallet | type[Refusal]
):
    assert named(next_standing(standing, act, by_staff=True)) == expected


@given(
    standing=st.sampled_from([PENDING, ACTIVE, FROZEN, SEIZED, CLOSED]),
    act=st.sampled_from(Act),
    by_staff=st.booleans(),
)
def test_an_act_that_was_done_may_be_repeated_and_changes_nothing(
    standing: StandingWallet, act: Act, by_staff: bool
):
    once = next_standing(standing, act, by_staff=by_staff)

    if not isinstance(once, Refusal):
        assert next_standing(once, act, by_staff=by_staff) == once


@given(acts=st.lists(st.tuples(st.sampled_from(Act), st.booleans()), max_size=20))
def test_no_series_of_an_owners_acts_opens_what_is_closed_or_frees_what_staff_froze(
    acts: list[tuple[Act, bool]],
):
    standing = PENDING
    for act, by_staff in acts:
        after = next_standing(standing, act, by_staff=by_staff)
        if isinstance(after, Refusal):
            continue
        assert standing.status is not WalletStatus.CLOSED or after == standing
        assert not standing.frozen_by_staff or by_staff or after.frozen_by_staff
        standing = after


@pytest.mark.parametrize("code", sorted(CURRENCIES))
def test_starting_limits_grow_from_a_transaction_to_a_month_in_every_currency(code: str):
    limits = starting_limits(CURRENCIES[code])

    assert limits.per_transaction_minor is not None
    assert limits.per_day_minor is not None
    assert limits.per_month_minor is not None
    assert 0 < limits.per_transaction_minor < limits.per_day_minor < limits.per_month_minor


def test_an_unverified_owner_may_move_ten_thousand_rupees_at_once():
    limits = starting_limits(CURRENCIES["INR"])

    assert limits.per_transaction_minor == 10_000_00
    assert limits.per_day_minor == 20_000_00
    assert limits.per_month_minor == 100_000_00


def test_an_owner_has_one_pair_of_controls_a_currency_however_many_wallets():
    anna, ben = UserId(new_id()), UserId(new_id())
    inr, usd = CURRENCIES["INR"], CURRENCIES["USD"]

    ids = [
        [
            control.id
            for control in starting_controls(
                owner, unit, limits=starting_limits(unit), time_zone="Asia/Kolkata"
            )
        ]
        for owner, unit in ((anna, inr), (anna, inr), (anna, usd), (ben, inr))
    ]

    assert ids[0] == ids[1]
    assert len({control_id for pair in ids for control_id in pair}) == 6


def test_what_comes_from_other_people_is_not_limited():
    out, funded = starting_controls(
        UserId(new_id()),
        CURRENCIES["INR"],
        limits=starting_limits(CURRENCIES["INR"]),
        time_zone="Asia/Kolkata",
    )

    assert (out.direction, out.kinds) == (Direction.OUTFLOW, None)
    assert (funded.direction, funded.kinds) == (Direction.INFLOW, frozenset({"deposit", "topup"}))
