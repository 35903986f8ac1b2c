"""How the ledger refuses."""

from __future__ import annotations

from uuid import UUID

from guilder.kernel.errors import Conflict, Family, NotFound, Refusal, ValidationFailed


class KeptByItsContext(Refusal):
    """The account's code or the transaction's kind belongs to another part of the platform."""

    code = "RESERVED"
    family = Family.FORBIDDEN
    message = "This is reserved; use the routes of what it belongs to."


class AccountNotFound(NotFound):
    """A transaction names an account that does not exist."""

    message = "There is no such account."


class AccountExists(Conflict):
    """The id belongs to another account, or the platform has one of this code and currency."""

    message = "The account exists."


class TransactionNotFound(NotFound):
    """No transaction has this id."""

    message = "There is no such transaction."


class HoldNotFound(NotFound):
    """No transaction of this id was ever pending."""

    message = "There is no such hold."


class InsufficientFunds(Refusal):
    """The account's available balance would fall below its floor."""

    code = "INSUFFICIENT_FUNDS"
    family = Family.PRECONDITION
    message = "The available balance is not sufficient."


class AccountFrozen(Refusal):
    """The account is frozen, for debits or altogether."""

    code = "ACCOUNT_FROZEN"
    family = Family.PRECONDITION
    message = "The account is frozen."


class AccountClosed(Refusal):
    """The account is closed and takes no further entries."""

    code = "ACCOUNT_CLOSED"
    family = Family.PRECONDITION
    message = "The account is closed."


class AccountNotEmpty(Refusal):
    """An account can be closed only when nothing is in it and nothing is held."""

    code = "ACCOUNT_NOT_EMPTY"
    family = Family.PRECONDITION
    message = "The account still holds money."


class LimitExceeded(Refusal):
    """A control allows less. ``details``: the window, its limit and what of it is left."""

    code = "LIMIT_EXCEEDED"
    family = Family.PRECONDITION
    message = "The transaction exceeds a limit."

    def __init__(
        self, message: str | None = None, /, *, subject_id: UUID | None = None, **details: object
    ) -> None:
        """``subject_id``: whom it limits, for whoever tells others of it; it is not shown."""
        super().__init__(message, **details)
        self.subject_id = subject_id


class BalanceTooLarge(Refusal):
    """An account's sums would leave the range of a 64-bit integer."""

    code = "BALANCE_TOO_LARGE"
    family = Family.PRECONDITION
    message = "The account cannot hold this much."


class Unbalanced(ValidationFailed):
    """The entries do not sum to zero in each currency, or there are fewer than two."""

    message = "The entries do not balance."


class TransactionExists(Conflict):
    """The id belongs to a transaction with other contents."""

    message = "A different transaction has this id."


class LinkedRefused(Conflict):
    """Another transaction of the same group was refused, so this one was not posted either."""

    code = "LINKED_REFUSED"
    message = "A linked transaction was refused."


class HoldEnded(Refusal):
    """The hold was posted or voided before."""

    code = "HOLD_ENDED"
    family = Family.CONFLICT
    message = "The hold has already ended."


class HoldExpired(Refusal):
    """The hold's time is over."""

    code = "HOLD_EXPIRED"
    family = Family.GONE
    message = "The hold has expired."


class AmountExceedsOriginal(Refusal):
    """More than is held, or more than is left to reverse."""

    code = "AMOUNT_EXCEEDS_ORIGINAL"
    family = Family.PRECONDITION
    message = "The amount exceeds what is left of the original."


class NotReversible(Refusal):
    """It is itself a reversal, is still pending, or has several currencies and a partial amount."""

    code = "NOT_REVERSIBLE"
    family = Family.PRECONDITION
    message = "The transaction cannot be reversed like this."
