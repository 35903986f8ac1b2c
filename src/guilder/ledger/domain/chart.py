"""The chart of the platform's own accounts: each comes into being on first use, as it is here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from guilder.kernel.currencies import CURRENCIES
from guilder.kernel.ids import AccountId
from guilder.ledger.api import Account, NewAccount, PlatformAccount, platform_account_id

PLATFORM_ACCOUNTS: Final[Mapping[AccountId, NewAccount]] = {
    platform_account_id(account, currency): NewAccount(
        id=platform_account_id(account, currency),
        owner_id=None,
        code=account.value,
        type=account.type,
        currency=currency,
    )
    for account in PlatformAccount
    for currency in CURRENCIES.values()
}
PLATFORM_CODES: Final = frozenset(account.value for account in PlatformAccount)


def unopened_account(account_id: AccountId) -> Account:
    """One of the platform's accounts as it is before anything was posted to it."""
    charted = PLATFORM_ACCOUNTS[account_id]
    return Account(
        id=charted.id,
        owner_id=charted.owner_id,
        code=charted.code,
        type=charted.type,
        currency=charted.currency,
        floor_minor=charted.floor_minor,
        status=charted.status,
    )


def takes_a_place(account: NewAccount) -> bool:
    """Whether it would stand in the chart as something else than what the chart says.

    The place is an id, or a code and a currency; whoever had one would end what is done with it.
    """
    if account.id not in PLATFORM_ACCOUNTS and account.code not in PLATFORM_CODES:
        return False
    return account != PLATFORM_ACCOUNTS.get(account.id)
