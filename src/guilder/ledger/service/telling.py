"""What the ledger's own use cases tell: their events, in the words of people.

Each is written in the transaction of its change, under the lock of what it is keyed by.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from guilder.kernel.currencies import Currency
from guilder.kernel.invariant import InvariantViolation
from guilder.kernel.money import format_minor
from guilder.ledger.api import (
    Account,
    AccountStatus,
    Book,
    EntryDraft,
    NewControl,
    ReversalDraft,
    TransactionDraft,
)
from guilder.ledger.domain.holds import Hold, HoldState
from guilder.ledger.events import (
    AccountFloor,
    AccountFloorChanged,
    AccountOpened,
    AccountState,
    AccountStatusChanged,
    ControlSet,
    ControlTerms,
    HoldExpired,
    HoldOpened,
    HoldPosted,
    HoldVoided,
    TransactionPosted,
    TransactionReversed,
    TransactionsPosted,
)
from guilder.platform.origin import Origin
from guilder.platform.outbox import Outgoing, outgoing


def posted(drafts: Sequence[TransactionDraft], *, book: Book, origin: Origin) -> list[Outgoing]:
    """An event for each transaction that was posted or held."""
    return [outgoing(_fact(draft, book), key=str(draft.id), origin=origin) for draft in drafts]


def posted_in_bulk(
    drafts: Sequence[TransactionDraft], *, book: Book, origin: Origin
) -> list[Outgoing]:
    """One event for all that were posted or held together: thousands would say no more."""
    if not drafts:
        return []
    fact = TransactionsPosted(
        count=len(drafts),
        pending=sum(draft.expires_at is not None for draft in drafts),
        first_id=drafts[0].id,
        last_id=drafts[-1].id,
        recorded_at=book.now,
    )
    return [outgoing(fact, key=str(fact.first_id), origin=origin)]


def reversed_by(
    draft: ReversalDraft, *, entries: Iterable[EntryDraft], book: Book
) -> list[Outgoing]:
    """That a transaction was undone by these entries."""
    fact = TransactionReversed(
        transaction_id=draft.original_id,
        reversal_id=draft.id,
        totals=_totals(entries, book),
        recorded_at=book.now,
    )
    return [outgoing(fact, key=str(draft.original_id))]


def ended(holds: Iterable[Hold], *, book: Book) -> list[Outgoing]:
    """How each of these holds ended."""
    return [outgoing(_end(hold, book), key=str(hold.transaction_id)) for hold in holds]


def opened(account: Account) -> list[Outgoing]:
    """That there is a new account."""
    fact = AccountOpened(
        account_id=account.id,
        owner_id=account.owner_id,
        code=account.code,
        account_type=account.type.value,
        currency=account.currency.code,
        floor=_amount(account.floor_minor, account.currency),
    )
    return [outgoing(fact, key=str(account.id))]


def status_changed(account: Account, *, before: AccountStatus) -> list[Outgoing]:
    """What an account lets happen to it now; nothing where that is what it did before."""
    if account.status is before:
        return []
    fact = AccountStatusChanged(
        account_id=account.id,
        before=AccountState(status=before.value),
        after=AccountState(status=account.status.value),
    )
    return [outgoing(fact, key=str(account.id))]


def floor_changed(account: Account, *, before_minor: int | None) -> list[Outgoing]:
    """How low an account may go now; nothing where that is how low it could go before."""
    if account.floor_minor == before_minor:
        return []
    fact = AccountFloorChanged(
        account_id=account.id,
        currency=account.currency.code,
        before=AccountFloor(floor=_amount(before_minor, account.currency)),
        after=AccountFloor(floor=_amount(account.floor_minor, account.currency)),
    )
    return [outgoing(fact, key=str(account.id))]


def control_set(control: NewControl, *, before: NewControl | None) -> list[Outgoing]:
    """What a control says now; nothing where it said the same before."""
    if control == before:
        return []
    fact = ControlSet(
        control_id=control.id,
        subject_id=control.subject_id,
        currency=control.currency.code,
        direction=control.direction.value,
        before=None if before is None else _terms(before),
        after=_terms(control),
    )
    return [outgoing(fact, key=str(control.subject_id))]


def _fact(draft: TransactionDraft, book: Book) -> TransactionPosted | HoldOpened:
    totals = _totals(draft.entries, book)
    if draft.expires_at is None:
        return TransactionPosted(
            transaction_id=draft.id,
            kind=draft.kind,
            entries=len(draft.entries),
            totals=totals,
            recorded_at=book.now,
        )
    return HoldOpened(
        transaction_id=draft.id,
        kind=draft.kind,
        totals=totals,
        expires_at=draft.expires_at,
        recorded_at=book.now,
    )


def _end(hold: Hold, book: Book) -> HoldPosted | HoldVoided | HoldExpired:
    currency = _currency(hold.lines[0], book)
    held = format_minor(hold.amount_minor, currency)
    if hold.state is HoldState.POSTED:
        return HoldPosted(
            transaction_id=hold.transaction_id,
            amount=format_minor(hold.posted_minor, currency),
            held=held,
            currency=currency.code,
        )
    kind = HoldVoided if hold.state is HoldState.VOIDED else HoldExpired
    return kind(transaction_id=hold.transaction_id, held=held, currency=currency.code)


def _totals(entries: Iterable[EntryDraft], book: Book) -> dict[str, str]:
    sums: dict[Currency, int] = {}
    for entry in entries:
        currency = _currency(entry, book)
        sums[currency] = sums.get(currency, 0) + max(0, entry.amount_minor)
    return {currency.code: format_minor(total, currency) for currency, total in sums.items()}


def _currency(entry: EntryDraft, book: Book) -> Currency:
    account = book.account(entry.account_id)
    if account is None:
        raise InvariantViolation("what was written names accounts of its book")
    return account.currency


def _terms(control: NewControl) -> ControlTerms:
    limits, currency = control.limits, control.currency
    return ControlTerms(
        per_transaction=_amount(limits.per_transaction_minor, currency),
        per_day=_amount(limits.per_day_minor, currency),
        per_month=_amount(limits.per_month_minor, currency),
        time_zone=control.time_zone,
        kinds=None if control.kinds is None else sorted(control.kinds),
    )


def _amount(minor: int | None, currency: Currency) -> str | None:
    return None if minor is None else format_minor(minor, currency)
