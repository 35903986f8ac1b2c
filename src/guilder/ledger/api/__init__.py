"""What other contexts may call of the ledger: drafts, the book, refusals, and the `Ledger` port.

Everything here works inside a transaction that the caller opened, so that a debit, a credit, a
limit and whatever the caller writes beside them are one commit.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple, Protocol, Self
from uuid import UUID, uuid5

from msgspec import Struct

from guilder.kernel.currencies import Currency
from guilder.kernel.errors import Refusal
from guilder.kernel.ids import AccountId, ControlId, TransactionId, UserId
from guilder.ledger.api.refusals import (
    AccountClosed,
    AccountExists,
    AccountFrozen,
    AccountNotEmpty,
    AccountNotFound,
    AmountExceedsOriginal,
    BalanceTooLarge,
    HoldEnded,
    HoldExpired,
    HoldNotFound,
    InsufficientFunds,
    KeptByItsContext,
    LimitExceeded,
    LinkedRefused,
    NotReversible,
    TransactionExists,
    TransactionNotFound,
    Unbalanced,
)
from guilder.platform.db import Tx
from guilder.platform.db_writes import Write

__all__ = [
    "Account",
    "AccountClosed",
    "AccountExists",
    "AccountFrozen",
    "AccountNotEmpty",
    "AccountNotFound",
    "AccountStatus",
    "AccountType",
    "AmountExceedsOriginal",
    "BalanceTooLarge",
    "Book",
    "ControlLimits",
    "Direction",
    "Entry",
    "EntryDraft",
    "HoldEnded",
    "HoldExpired",
    "HoldNotFound",
    "InsufficientFunds",
    "KeptByItsContext",
    "Ledger",
    "LimitExceeded",
    "LinkedRefused",
    "Movement",
    "NewAccount",
    "NewControl",
    "NotReversible",
    "OriginalTransaction",
    "PlatformAccount",
    "Reserved",
    "ReversalDraft",
    "TransactionDraft",
    "TransactionExists",
    "TransactionNotFound",
    "Unbalanced",
    "platform_account_id",
]


class AccountType(StrEnum):
    """The five types of the accounting equation.

    ``is_debit_normal`` says whether debits raise the balance: true for assets and expenses.
    """

    is_debit_normal: bool

    def __new__(cls, value: str, is_debit_normal: bool = False) -> Self:  # noqa: FBT001, FBT002 - an enum's value is written as a tuple
        """A member, which knows its normal side without being asked twice."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.is_debit_normal = is_debit_normal
        return member

    ASSET = "asset", True
    LIABILITY = "liability"
    EQUITY = "equity"
    INCOME = "income"
    EXPENSE = "expense", True


class AccountStatus(StrEnum):
    """What an account still lets happen to it."""

    OPEN = "open"
    FROZEN_FOR_DEBITS = "frozen_debits"
    """Money may come in; nothing may go out."""
    FROZEN = "frozen"
    CLOSED = "closed"


class EntryDraft(Struct, frozen=True, gc=False):
    """A change of one account to be made. ``amount_minor``: debit positive, credit negative."""

    account_id: AccountId
    amount_minor: int


class TransactionDraft(Struct, frozen=True, kw_only=True):
    """A transaction to be posted, or held when ``expires_at`` is set.

    ``metadata`` is JSON text, kept byte for byte. ``effective_at`` defaults to the time of record
    and may lie before it (backdating). ``reverses`` names what a reversal undoes.
    """

    id: TransactionId
    kind: str
    entries: tuple[EntryDraft, ...]
    description: str = ""
    metadata: str = "{}"
    effective_at: datetime | None = None
    expires_at: datetime | None = None
    reverses: OriginalTransaction | None = None


class OriginalTransaction(Struct, frozen=True, kw_only=True):
    """What a reversal has to know of the transaction it undoes."""

    id: TransactionId
    kind: str
    recorded_at: datetime


class ReversalDraft(Struct, frozen=True, kw_only=True):
    """A reversal to be posted. ``amount_minor`` None undoes all that is left of the original."""

    id: TransactionId
    original_id: TransactionId
    amount_minor: int | None = None
    kind: str = "reversal"
    description: str = ""
    metadata: str = "{}"


class Account(Struct, kw_only=True):
    """A ledger account as it stands inside a book. Sums are whole minor units, never negative.

    ``moved_at`` is when an entry or a hold last touched it; time never runs backwards in an
    account.
    """

    id: AccountId
    owner_id: UserId | None
    code: str
    type: AccountType
    currency: Currency
    posted_debits: int = 0
    posted_credits: int = 0
    pending_debits: int = 0
    pending_credits: int = 0
    floor_minor: int | None = None
    status: AccountStatus = AccountStatus.OPEN
    sequence: int = 0
    last_hash: bytes = bytes(32)
    moved_at: datetime | None = None

    @property
    def balance_minor(self) -> int:
        """What is posted, on the normal side."""
        if self.type.is_debit_normal:
            return self.posted_debits - self.posted_credits
        return self.posted_credits - self.posted_debits

    @property
    def held_minor(self) -> int:
        """What open holds reserve to leave the account."""
        return self.pending_credits if self.type.is_debit_normal else self.pending_debits

    @property
    def available_minor(self) -> int:
        """The balance less what open holds reserve."""
        return self.balance_minor - self.held_minor


class NewAccount(Struct, frozen=True, kw_only=True):
    """An account to be opened. ``owner_id`` is None for the platform's own accounts."""

    id: AccountId
    owner_id: UserId | None
    code: str
    type: AccountType
    currency: Currency
    floor_minor: int | None = None
    status: AccountStatus = AccountStatus.OPEN


class Direction(StrEnum):
    """Which way money crosses the controlled account, seen from its owner."""

    OUTFLOW = "outflow"
    INFLOW = "inflow"


class Movement(NamedTuple):
    """That transactions of a kind may leave or enter an account."""

    account_id: AccountId
    direction: Direction
    kind: str


class ControlLimits(Struct, frozen=True, kw_only=True):
    """The sums a control allows, in minor units; None means no limit."""

    per_transaction_minor: int | None = None
    per_day_minor: int | None = None
    per_month_minor: int | None = None


class NewControl(Struct, frozen=True, kw_only=True):
    """A limit on what leaves or enters the accounts of one owner, or one account, in a currency.

    ``kinds`` narrows it to transactions of these kinds; None covers all but reversals. Days and
    months are those of ``time_zone`` (an IANA name).
    """

    id: ControlId
    subject_id: UserId | AccountId
    currency: Currency
    direction: Direction
    limits: ControlLimits
    time_zone: str
    kinds: frozenset[str] | None = None


class Reserved(Struct, frozen=True, kw_only=True):
    """What other contexts keep to themselves: accounts of these codes, transactions of these kinds.

    The ledger's own routes neither open nor change such accounts, nor post such kinds: only the
    context that they belong to knows what else has to change with them.
    """

    account_codes: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()


class Book(Protocol):
    """The accounts and controls that one database transaction holds locked, and what it will write.

    Postings see each other at once; nothing is stored before `Ledger.write`.
    """

    @property
    def now(self) -> datetime:
        """The database's time after all locks were taken. Postings are recorded at this time."""
        ...

    def account(self, account_id: AccountId) -> Account | None:
        """The account as it stands after the postings so far; None when it does not exist."""
        ...

    def post(self, draft: TransactionDraft) -> Refusal | None:
        """Post or hold one transaction: all its entries, or none and the reason."""
        ...

    def post_linked(self, drafts: Sequence[TransactionDraft]) -> tuple[int, Refusal] | None:
        """Post several transactions or none; answers the first refused one's index and reason.

        After a refusal, read the accounts again: those read before are not of this book any more.
        """
        ...

    def settle(self, hold_id: TransactionId, *, amount_minor: int | None = None) -> Refusal | None:
        """Post a hold in full (None) or in part and release the rest of it; it has then ended."""
        ...

    def void(self, hold_id: TransactionId) -> Refusal | None:
        """End a hold without posting it: the reserved money is free again."""
        ...

    def expire(self, hold_id: TransactionId) -> Refusal | None:
        """End a hold whose time is over."""
        ...

    def reverse(self, draft: ReversalDraft) -> Refusal | None:
        """Undo a posted transaction in full or in part, and give back the allowance it used."""
        ...


class Ledger(Protocol):
    """The ledger's use cases inside a transaction that the caller opened and will commit."""

    async def open_account(self, tx: Tx, account: NewAccount) -> None:
        """Open an account.

        Raises:
            AccountExists: the id is taken, or the platform has one of this code and currency.
            ValidationFailed: its floor is above zero, which an empty account would be below.
        """
        ...

    async def open_book(
        self,
        tx: Tx,
        account_ids: Collection[AccountId],
        *,
        movements: Collection[Movement] | None = None,
        holds: Collection[TransactionId] = (),
        originals: Collection[TransactionId] = (),
    ) -> Book:
        """Lock the accounts, the controls on them and their owners, and the holds, in this order.

        Each kind is locked in id order. The accounts that ``holds`` (to be ended) and
        ``originals`` (to be reversed) touch are locked too. Platform accounts named by
        `platform_account_id` come into being when something is first posted to them. ``movements``
        says all that will be posted, so that controls on anything else stay out of it; the book
        then posts nothing else, and is opened without holds and originals.

        Raises:
            TryAgain: what is to be ended or reversed was posted while the locks were waited for.
                Let it pass: `Database.run` looks again.
        """
        ...

    async def write(self, tx: Tx, book: Book) -> None:
        """Store everything that was posted in ``book``.

        Raises:
            TryAgain: an id was taken while the book was open. Let it pass: `Database.run` looks
                again.
        """
        ...

    def writes_of(self, book: Book) -> Sequence[Write]:
        """What `write` does, to be done together with what else the transaction writes."""
        ...

    async def accounts(
        self, tx: Tx, account_ids: Collection[AccountId]
    ) -> dict[AccountId, Account]:
        """Read accounts without locking them."""
        ...

    async def busy(self, tx: Tx, movements: Collection[Movement]) -> set[Movement]:
        """Which of these movements would wait now, if a book were opened for all of them.

        Somebody else has locked their account, or a control on it or its owner. What nobody else
        has locked is locked.
        """
        ...

    async def lock_account(self, tx: Tx, account_id: AccountId) -> Account:
        """Lock one account until the transaction ends.

        Raises:
            AccountNotFound: it does not exist.
        """
        ...

    async def set_status(self, tx: Tx, account_id: AccountId, status: AccountStatus) -> Account:
        """Freeze, unfreeze or close an account under its lock. Doing it again changes nothing.

        Raises:
            AccountNotFound: it does not exist.
            AccountClosed: it was closed before and would be opened or frozen; closing is final.
            AccountNotEmpty: it is to be closed and holds money, or money is held in it.
        """
        ...

    async def set_floor(self, tx: Tx, account_id: AccountId, *, floor_minor: int | None) -> Account:
        """Set the lowest balance an account may have, under its lock; None means no limit.

        Raises:
            AccountNotFound: it does not exist.
            AccountClosed: it is closed.
            InsufficientFunds: less than that is available now.
        """
        ...

    async def create_control(self, tx: Tx, control: NewControl) -> bool:
        """Create a control unless one has its id; that one then stays as it is. Was it created?

        The accounts of its subject are locked, so that nothing slips past it.
        """
        ...

    async def set_control(self, tx: Tx, control: NewControl) -> NewControl | None:
        """Create a control, or let the one with this id allow what this one says.

        Answers what the one with this id said before; None: it is new. What is used is counted
        again from the entries where its kinds or its time zone change.

        Raises:
            Conflict: the one with this id is on another subject, currency or direction.
        """
        ...

    async def balance_at(self, tx: Tx, account_id: AccountId, at: datetime) -> int:
        """The account's balance on its normal side after all entries recorded up to ``at``."""
        ...

    async def entries(
        self, tx: Tx, account_id: AccountId, *, before_sequence: int | None, limit: int
    ) -> list[Entry]:
        """An account's entries, newest first, from below ``before_sequence``."""
        ...


class Entry(Struct, frozen=True, kw_only=True):
    """A stored entry. ``balance_after_minor`` is on the account's normal side."""

    account_id: AccountId
    sequence: int
    transaction_id: TransactionId
    amount_minor: int
    balance_after_minor: int
    recorded_at: datetime
    effective_at: datetime
    kind: str
    description: str


class PlatformAccount(StrEnum):
    """The chart of the platform's own accounts; each exists once per currency."""

    SETTLEMENT_SIMULATED = "settlement.simulated"
    FEES = "fees"
    FX_POSITION = "fx.position"
    ROUNDING = "rounding"
    SUSPENSE = "suspense"

    @property
    def type(self) -> AccountType:
        """The account's place in the accounting equation."""
        return _PLATFORM_TYPES[self]


_PLATFORM_TYPES: Final = {
    PlatformAccount.SETTLEMENT_SIMULATED: AccountType.ASSET,
    PlatformAccount.FEES: AccountType.INCOME,
    PlatformAccount.FX_POSITION: AccountType.EQUITY,
    PlatformAccount.ROUNDING: AccountType.EXPENSE,
    PlatformAccount.SUSPENSE: AccountType.LIABILITY,
}
_PLATFORM_NAMESPACE: Final = UUID("8f3f7b8e-6a0c-5d0e-9b57-1c0f2f3a4d5e")


def platform_account_id(account: PlatformAccount, currency: Currency) -> AccountId:
    """The id of a platform account: computed from its code and currency, so nobody looks it up."""
    return AccountId(uuid5(_PLATFORM_NAMESPACE, f"{account.value}:{currency.code}"))
