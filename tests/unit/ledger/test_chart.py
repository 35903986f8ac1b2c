"""The chart of the platform's accounts: who takes a place in it, and when one comes into being."""

from __future__ import annotations

import pytest
from msgspec import structs

from guilder.kernel.currencies import INR
from guilder.kernel.ids import AccountId
from guilder.ledger.api import (
    AccountType,
    InsufficientFunds,
    NewAccount,
    PlatformAccount,
    platform_account_id,
)
from guilder.ledger.domain.book import LockedBook
from guilder.ledger.domain.chart import PLATFORM_ACCOUNTS, takes_a_place, unopened_account
from guilder.platform.identifiers import new_id
from tests.support.books import ANNA, BEN, NOON, draft, people, transfer


@pytest.mark.parametrize("ours", PLATFORM_ACCOUNTS.values())
def test_an_account_of_the_chart_takes_its_own_place_alone(ours: NewAccount):
    other_type = next(kind for kind in AccountType if kind is not ours.type)

    assert not takes_a_place(ours)
    assert takes_a_place(structs.replace(ours, id=AccountId(new_id())))
    assert takes_a_place(structs.replace(ours, code="escrow"))
    assert takes_a_place(structs.replace(ours, type=other_type))


def test_an_account_that_is_not_in_the_chart_takes_no_place():
    some = next(iter(PLATFORM_ACCOUNTS.values()))

    assert not takes_a_place(structs.replace(some, id=AccountId(new_id()), code="escrow"))


def test_an_account_of_the_platform_is_opened_by_what_is_posted_to_it():
    id_ = platform_account_id(PlatformAccount.SETTLEMENT_SIMULATED, INR)
    unopened = unopened_account(id_)
    here = LockedBook(accounts=[*people(), unopened], now=NOON, unopened=frozenset({unopened.id}))
    assert here.opened_accounts == []

    assert isinstance(here.post(transfer(5_000)), InsufficientFunds)
    assert here.post(transfer(1)) is None
    assert here.opened_accounts == []
    assert here.post(draft((unopened.id, 5), (BEN, -5))) is None

    assert here.opened_accounts == [unopened]
    assert unopened.posted_debits == 5
    assert {each.id for each in here.changed_accounts} == {ANNA, BEN}
