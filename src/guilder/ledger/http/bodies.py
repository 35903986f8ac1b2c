"""What requests to the ledger say and what it answers. Amounts are text in major units."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from guilder.kernel.currencies import Currency
from guilder.kernel.errors import IdempotencyKeyReused, Refusal, ValidationFailed
from guilder.kernel.ids import AccountId, TransactionId, UserId
from guilder.kernel.money import format_minor, parse_amount
from guilder.ledger.api import (
    Account,
    AccountExists,
    AccountNotFound,
    EntryDraft,
    TransactionDraft,
    TransactionExists,
)
from guilder.ledger.service.read_ledger import EntryView, TransactionView
from guilder.platform.http.fields import Amount, CurrencyCode, Description, Moment
from guilder.platform.http.route import Request
from guilder.platform.identifiers import named_id

Kind = Annotated[
    str,
    Meta(
        max_length=64,
        pattern=r"^[a-z][a-z0-9_.-]*\Z",
    ),
]
"""What kind of transaction it is: a word of whoever posts it."""

REPLAYED: Final = (("Idempotency-Replayed", "true"),)
"""The headers of an answer that tells what had been done before."""

KEY_OF_AN_ID: Final = (
    "Names what is made where the request gives it no id, for good: repeating it is safe, however "
    "late."
)
KEY_OF_A_HOLD: Final = (
    "Only comes back with the answer: a hold ends once, so repeating this is safe with any key."
)
"""What keys mean on the ledger's routes, as they say of themselves."""

_MAX_METADATA: Final = 8 * 1024
_IDS: Final = UUID("5b6d3a0e-0d43-5c1c-9a34-6c1f2b1d7f10")
_encode: Final = msgspec.json.Encoder(decimal_format="number", order="deterministic").encode


class Side(StrEnum):
    """Which side of an account an entry stands on."""

    DEBIT = "debit"
    CREDIT = "credit"


class EntryBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """One entry. Its currency is the account's; naming it makes sure of that."""

    account_id: AccountId
    direction: Side
    amount: Amount
    currency: CurrencyCode | None = None


class TransactionBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """A transaction. Repeating it under the same id is safe: it is posted once.

    ``pending`` holds the money until ``expires_at``.
    """

    entries: Annotated[list[EntryBody], Meta(min_length=2, max_length=1000)]
    id: UUID | None = None
    kind: Kind = "journal"
    description: Description | None = None
    metadata: dict[str, Any] | None = None
    effective_at: Moment | None = None
    pending: bool = False
    expires_at: Moment | None = None


class StoredEntry(Struct, kw_only=True):
    """An entry as it is stored. ``hash`` covers it, its transaction and the entry before it."""

    account_id: AccountId
    sequence: int
    transaction_id: TransactionId
    direction: Side
    amount: str
    balance_after: str
    currency: str
    kind: str
    description: str
    effective_at: datetime
    recorded_at: datetime
    hash: str


class HeldLine(Struct, kw_only=True):
    """What an open hold reserves on one account."""

    account_id: AccountId
    direction: Side
    amount: str
    currency: str


class StoredTransaction(Struct, kw_only=True, omit_defaults=True):
    """A transaction as it is stored; ``held`` is what a hold reserved, whatever became of it."""

    id: TransactionId
    kind: str
    state: str
    description: str
    metadata: msgspec.Raw
    effective_at: datetime
    recorded_at: datetime
    entries: list[StoredEntry]
    digest: str
    expires_at: datetime | None = None
    reverses_id: TransactionId | None = None
    held: list[HeldLine] | None = None
    linked: list[StoredTransaction] | None = None


class AccountBody(Struct, kw_only=True):
    """An account as it stands. Sums are never negative; the balance is on the normal side."""

    id: AccountId
    owner_id: UserId | None
    code: str
    type: str
    currency: str
    posted_debits: str
    posted_credits: str
    pending_debits: str
    pending_credits: str
    balance: str
    available: str
    floor: str | None
    status: str
    last_sequence: int
    last_hash: str


def draft_of(
    body: TransactionBody,
    *,
    id_: TransactionId,
    currencies: Mapping[AccountId, Currency],
    field: str = "",
) -> TransactionDraft:
    """The draft that a body asks for. ``field`` is where it stands in the request.

    Raises:
        AccountNotFound: it names an account that does not exist.
        ValidationFailed: an amount, a currency, the metadata or the expiry does not fit.
    """
    if body.pending != (body.expires_at is not None):
        reason = "belongs to a pending transaction, and each has one"
        raise ValidationFailed(fields={f"{field}expires_at": reason})
    return TransactionDraft(
        id=id_,
        kind=body.kind,
        entries=tuple(
            _entry(entry, currencies, field=f"{field}entries[{index}].")
            for index, entry in enumerate(body.entries)
        ),
        description=body.description or "",
        metadata=metadata_text(body.metadata, field=f"{field}metadata"),
        effective_at=_plain(body.effective_at),
        expires_at=_plain(body.expires_at),
    )


def accounts_named(bodies: list[TransactionBody]) -> set[AccountId]:
    """The accounts that transactions name."""
    return {entry.account_id for body in bodies for entry in body.entries}


def id_for(request: Request, *, given: UUID | None, place: str = "") -> TransactionId:
    """The id the caller chose, or one that follows from the caller and the Idempotency-Key.

    ``place`` tells several transactions of one request apart.
    """
    if given is not None:
        return TransactionId(given)
    name = f"{request.user.user_id}:{request.idempotency_key}:{place}"
    return TransactionId(named_id(_IDS, name))


def of_key(refusal: Refusal, *, given: UUID | None) -> Refusal:
    """What is told to whom an id is taken: that of a key means that the key was used before."""
    is_taken = isinstance(refusal, AccountExists | TransactionExists)
    if given is None and is_taken and "fields" in refusal.details:
        return IdempotencyKeyReused(**refusal.details)
    return refusal


def metadata_text(metadata: Mapping[str, Any] | None, *, field: str) -> str:
    """Metadata as JSON text, its names in order, so that equal metadata is equal text.

    Raises:
        ValidationFailed: it is too large.
    """
    if not metadata:
        return "{}"
    text = _encode(metadata).decode()
    if len(text) > _MAX_METADATA:
        raise ValidationFailed(fields={field: f"must have at most {_MAX_METADATA} bytes"})
    return text


def parse_floor(text: str, currency: Currency) -> int:
    """A floor in major units, which may be zero or negative.

    Raises:
        BadAmount: it is malformed, too large, or finer than the currency's minor unit.
    """
    digits = text.removeprefix("-")
    if digits and not digits.strip("0.") and parse_amount(f"1{digits}", currency, field="floor"):
        return 0
    minor = parse_amount(digits, currency, field="floor")
    return -minor if text.startswith("-") else minor


def account_body(account: Account) -> AccountBody:
    """An account for people."""
    unit = account.currency
    floor = account.floor_minor
    return AccountBody(
        id=account.id,
        owner_id=account.owner_id,
        code=account.code,
        type=account.type.value,
        currency=unit.code,
        posted_debits=format_minor(account.posted_debits, unit),
        posted_credits=format_minor(account.posted_credits, unit),
        pending_debits=format_minor(account.pending_debits, unit),
        pending_credits=format_minor(account.pending_credits, unit),
        balance=format_minor(account.balance_minor, unit),
        available=format_minor(account.available_minor, unit),
        floor=None if floor is None else format_minor(floor, unit),
        status=account.status.value,
        last_sequence=account.sequence,
        last_hash=account.last_hash.hex(),
    )


def entry_body(entry: EntryView) -> StoredEntry:
    """An entry for people."""
    return StoredEntry(
        account_id=entry.account_id,
        sequence=entry.sequence,
        transaction_id=entry.transaction_id,
        direction=_side(entry.amount_minor),
        amount=format_minor(abs(entry.amount_minor), entry.currency),
        balance_after=format_minor(entry.balance_after_minor, entry.currency),
        currency=entry.currency.code,
        kind=entry.kind,
        description=entry.description,
        effective_at=entry.effective_at,
        recorded_at=entry.recorded_at,
        hash=entry.hash.hex(),
    )


def transaction_body(view: TransactionView) -> StoredTransaction:
    """A transaction for people."""
    unit = view.held_currency
    return StoredTransaction(
        id=view.id,
        kind=view.kind,
        state=view.state,
        description=view.description,
        metadata=msgspec.Raw(view.metadata.encode()),
        effective_at=view.effective_at,
        recorded_at=view.recorded_at,
        entries=[entry_body(entry) for entry in view.entries],
        digest=view.digest.hex(),
        expires_at=view.expires_at,
        reverses_id=view.reverses_id,
        held=None if unit is None else [_held(line, unit) for line in view.held_lines],
    )


def _plain(moment: Moment | None) -> datetime | None:
    """A time as the rest of the ledger knows it, and its events can be written with."""
    return None if moment is None else datetime.combine(moment.date(), moment.timetz())


def _held(line: EntryDraft, unit: Currency) -> HeldLine:
    return HeldLine(
        account_id=line.account_id,
        direction=_side(line.amount_minor),
        amount=format_minor(abs(line.amount_minor), unit),
        currency=unit.code,
    )


def _side(amount_minor: int) -> Side:
    return Side.DEBIT if amount_minor > 0 else Side.CREDIT


def _entry(body: EntryBody, currencies: Mapping[AccountId, Currency], *, field: str) -> EntryDraft:
    unit = currencies.get(body.account_id)
    if unit is None:
        raise AccountNotFound(account_id=str(body.account_id))
    if body.currency is not None and body.currency != unit.code:
        raise ValidationFailed(fields={f"{field}currency": f"is {unit.code} in this account"})
    minor = parse_amount(body.amount, unit, field=f"{field}amount")
    return EntryDraft(body.account_id, minor if body.direction is Side.DEBIT else -minor)
