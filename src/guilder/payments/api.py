"""What others may know of payments: the orders, the records, and the refusals."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from guilder.kernel.currencies import Currency
from guilder.kernel.errors import Family, NotFound, Refusal, ValidationFailed
from guilder.kernel.ids import TransactionId, UserId, WalletId
from guilder.platform.origin import NOWHERE, Origin


class PaymentType(StrEnum):
    """What kind of payment it is; the ledger knows it as the transaction's kind."""

    DEPOSIT = "deposit"
    TOPUP = "topup"
    WITHDRAWAL = "withdrawal"
    TRANSFER = "transfer"


class PaymentStatus(StrEnum):
    """What became of a payment."""

    COMPLETED = "completed"
    FAILED = "failed"


class PaymentOrder(Struct, frozen=True, kw_only=True):
    """What a caller asks for. ``amount_minor`` is positive, in minor units of ``currency``.

    A deposit has no ``from_wallet_id``, a withdrawal no ``to_wallet_id``, a transfer has both.
    """

    type: PaymentType
    caller_id: UserId
    key: str
    amount_minor: int
    currency: Currency
    from_wallet_id: WalletId | None = None
    to_wallet_id: WalletId | None = None
    description: str = ""
    effective_at: datetime | None = None
    """When it counts, where that is before it is recorded: for imports and corrections."""
    origin: Origin = NOWHERE
    """In which request it was asked for; no part of what a key stands for."""
    verification: bytes | None = None
    """The digest of the token that verifies it, if any; no part of what a key stands for."""


class Payment(Struct, frozen=True, kw_only=True):
    """The record of a payment, completed or failed."""

    id: TransactionId
    order: PaymentOrder
    status: PaymentStatus
    created_at: datetime
    failure: Refusal | None = None


class Outcome(Struct, frozen=True, kw_only=True):
    """The answer to one order: a payment, a refusal, or a payment that was refused.

    ``refusal`` alone means that nothing was kept and the key is still free; so does
    ``needs_verification``: the order may be made again with a token.
    """

    payment: Payment | None = None
    refusal: Refusal | None = None
    is_replay: bool = False
    needs_verification: bool = False


class Search(Struct, frozen=True, kw_only=True):
    """Which payments are looked for; None means any. Amounts are in minor units."""

    types: tuple[PaymentType, ...] | None = None
    status: PaymentStatus | None = None
    least_minor: int | None = None
    most_minor: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    currency: str | None = None
    text: str | None = None
    counterparty: WalletId | None = None


class PaymentNotFound(NotFound):
    """There is no such payment, or the caller has no part in it."""

    message = "There is no such transaction."


class CurrencyMismatch(ValidationFailed):
    """The payment's currency is not that of its wallets."""

    message = "The currency differs from the wallet's."


class CounterpartyLimited(Refusal):
    """A limit that is not the caller's would be exceeded; how much of it is used is not theirs."""

    code = "COUNTERPARTY_LIMIT_EXCEEDED"
    family = Family.PRECONDITION
    message = "The other side cannot take part in this payment now: it would exceed a limit."


class FundingUnavailable(Refusal):
    """No source of money from outside is configured."""

    code = "PROVIDER_UNAVAILABLE"
    family = Family.UNAVAILABLE
    message = "No funding source is configured."


class FailedBefore(Refusal):
    """The payment failed for a reason that is not told any more; its message says which it was."""

    code = "PAYMENT_FAILED"
    family = Family.PRECONDITION
    message = "The payment was refused."


class Payments(Protocol):
    """Makes payments. Safe to repeat with the same key."""

    async def pay(self, order: PaymentOrder) -> Outcome:
        """Execute an order; the answer comes after its commit.

        Raises:
            Overloaded: too much is waiting, or the database does not answer in time.
        """
        ...
