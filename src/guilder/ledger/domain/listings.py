"""What listings of the ledger ask for and consist of."""

from __future__ import annotations

from msgspec import Struct

from guilder.kernel.ids import UserId
from guilder.ledger.api import AccountStatus, AccountType


class AccountFilter(Struct, frozen=True, kw_only=True):
    """Which accounts to list; None does not narrow."""

    owner_id: UserId | None = None
    currency: str | None = None
    type: AccountType | None = None
    code: str | None = None
    status: AccountStatus | None = None


class TrialLine(Struct, frozen=True, kw_only=True):
    """All accounts of one code in one currency: what was posted to them."""

    currency: str
    type: str
    code: str
    accounts: int
    debits_minor: int
    credits_minor: int
