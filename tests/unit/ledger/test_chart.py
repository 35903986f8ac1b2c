"""The chart of the platform's accounts: which requests would take a place in it."""

from __future__ import annotations

import pytest
from msgspec import structs

from guilder.kernel.ids import AccountId
from guilder.ledger.api import AccountType, NewAccount
from guilder.ledger.domain.chart import PLATFORM_ACCOUNTS, takes_a_place
from guilder.platform.identifiers import new_id


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
