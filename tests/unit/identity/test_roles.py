"""What roles and permissions may be called, and which roles an account may be appointed to."""

from __future__ import annotations

import pytest

from guilder.identity.api import AccountType
from guilder.identity.api.roles import RolesAreFixed
from guilder.identity.domain.roles import name_problem, next_roles, permission_problem

CUSTOMER = frozenset({AccountType.CUSTOMER.value})
USER_ADMIN = frozenset({AccountType.USER_ADMIN.value})
TELLER = frozenset({"teller"})
NOBODY = frozenset[str]()


@pytest.mark.parametrize("name", ["teller", "night_shift", "tier_2", "a" * 40])
def test_a_role_has_a_name_of_small_letters_digits_and_underscores(name: str) -> None:
    assert name_problem(name) is None


@pytest.mark.parametrize("name", ["", "t", "Teller", "2nd", "night shift", "a" * 41, "teller\n"])
def test_other_names_of_roles_are_refused(name: str) -> None:
    assert "small letters" in (name_problem(name) or "")


def test_an_installation_adds_permissions_on_resources_of_its_own() -> None:
    own = {"wallets"}

    assert permission_problem("vaults:open", own_resources=own) is None
    assert "resource:action" in (permission_problem("vaults", own_resources=own) or "")
    assert "Guilder's own" in (permission_problem("wallets:open", own_resources=own) or "")


@pytest.mark.parametrize(
    ("of", "current", "wanted", "after"),
    [
        (AccountType.CUSTOMER, CUSTOMER, TELLER, CUSTOMER | TELLER),
        (AccountType.CUSTOMER, CUSTOMER | TELLER, NOBODY, CUSTOMER),
        (AccountType.CUSTOMER, CUSTOMER, CUSTOMER, CUSTOMER),
        (AccountType.USER_ADMIN, USER_ADMIN, NOBODY, USER_ADMIN),
        (AccountType.STAFF, TELLER, NOBODY, NOBODY),
        (AccountType.STAFF, NOBODY, TELLER, TELLER),
    ],
)
def test_what_comes_with_an_account_stays_beside_what_it_is_appointed_to(
    of: AccountType, current: frozenset[str], wanted: frozenset[str], after: frozenset[str]
) -> None:
    assert next_roles(current, wanted, of=of) == after


@pytest.mark.parametrize(
    ("of", "wanted"),
    [
        (AccountType.CUSTOMER, USER_ADMIN),
        (AccountType.STAFF, CUSTOMER),
        (AccountType.USER_ADMIN, TELLER),
        (AccountType.USER_ADMIN, CUSTOMER),
    ],
)
def test_no_account_gets_a_role_that_comes_with_another_kind(
    of: AccountType, wanted: frozenset[str]
) -> None:
    assert isinstance(next_roles(NOBODY, wanted, of=of), RolesAreFixed)
