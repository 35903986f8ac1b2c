"""The pure decision of a batch of payments: orders and locked state in, outcomes out.

The order of the rules is their precedence: the key, the wallets named, ownership, currency, then
what the ledger's book says of status, controls and funds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final, TypeAlias

from msgspec import Struct

from guilder.kernel.currencies import Currency
from guilder.kernel.errors import Refusal
from guilder.kernel.ids import AccountId, TransactionId, UserId, WalletId
from guilder.kernel.invariant import invariant
from guilder.ledger.api import (
    AccountFrozen,
    Book,
    Direction,
    EntryDraft,
    Movement,
    TransactionDraft,
)
from guilder.payments.api import (
    CurrencyMismatch,
    FundingUnavailable,
    IdempotencyKeyReused,
    Outcome,
    Payment,
    PaymentOrder,
    PaymentStatus,
)
from guilder.wallets.api import Wallet, WalletNotActive, WalletNotFound, WalletStatus

KEY_LIFETIME: Final = timedelta(hours=24)
"""After this a key is new again."""

Claim: TypeAlias = tuple[UserId, str]
"""Whose key it is, and the key."""


class Numbered(Struct, frozen=True, gc=False):
    """An order with the id its payment would have."""

    id: TransactionId
    order: PaymentOrder


class State(Struct, kw_only=True):
    """What a batch is judged by. All of it was read under the locks of ``book``."""

    book: Book
    wallets: Mapping[WalletId, Wallet]
    claims: dict[Claim, Payment]
    funding: Callable[[Currency], AccountId | None]


class Decision(Struct, kw_only=True):
    """What a batch comes to: an outcome for each order, and the payments that are new."""

    outcomes: list[Outcome]
    made: list[Payment]


def decide(orders: Sequence[Numbered], *, state: State) -> Decision:
    """Judge orders one after the other; what may be posted is posted in the book.

    Orders see what those before them did, equal keys included: the second one is a replay.
    """
    decision = Decision(outcomes=[], made=[])
    for numbered in orders:
        order = numbered.order
        claim = (order.caller_id, order.key)
        known = state.claims.get(claim)
        if known is not None:
            outcome = _replay(numbered, known)
        else:
            outcome = _execute(numbered, state)
            if outcome.payment is not None:
                state.claims[claim] = outcome.payment
                decision.made.append(outcome.payment)
        decision.outcomes.append(outcome)
    return decision


def movements(
    order: PaymentOrder, *, funding: Callable[[Currency], AccountId | None]
) -> list[Movement]:
    """What an order would move, by the accounts it names; they may not exist."""
    source, destination = order.from_wallet_id, order.to_wallet_id
    out = funding(order.currency) if source is None else AccountId(source)
    into = funding(order.currency) if destination is None else AccountId(destination)
    # Outside money is an asset of the platform: it grows by what it gives to a wallet.
    leaves = Direction.INFLOW if source is None else Direction.OUTFLOW
    enters = Direction.OUTFLOW if destination is None else Direction.INFLOW
    kind = order.type.value
    return [
        Movement(account_id, direction, kind)
        for account_id, direction in ((out, leaves), (into, enters))
        if account_id is not None
    ]


def _replay(numbered: Numbered, known: Payment) -> Outcome:
    order = numbered.order
    differing = [
        name
        for name, given, before in (
            ("type", order.type, known.order.type),
            ("from_wallet_id", order.from_wallet_id, known.order.from_wallet_id),
            ("to_wallet_id", order.to_wallet_id, known.order.to_wallet_id),
            ("amount", order.amount_minor, known.order.amount_minor),
            ("currency", order.currency, known.order.currency),
            ("description", order.description, known.order.description),
            ("effective_at", order.effective_at, known.order.effective_at),
        )
        if given != before
    ]
    if differing:
        reused = IdempotencyKeyReused(
            fields=dict.fromkeys(differing, "differs from the first request with this key")
        )
        return Outcome(refusal=reused)
    # Our own payment under our own key: the commit went through and its answer was lost.
    is_replay = known.id != numbered.id
    return Outcome(payment=known, refusal=known.failure, is_replay=is_replay)


def _execute(numbered: Numbered, state: State) -> Outcome:
    order = numbered.order
    # A negative amount would take from the wallet that receives, past the checks on the giver.
    invariant(order.amount_minor > 0, "an order moves a positive amount")
    invariant(order.from_wallet_id != order.to_wallet_id, "an order moves money somewhere else")
    refusal = _unfit(order, state)
    if refusal is not None:
        return Outcome(refusal=refusal)
    source, destination = _ends(order, state)
    if source is None or destination is None:
        return Outcome(refusal=FundingUnavailable())
    failure = state.book.post(
        TransactionDraft(
            id=numbered.id,
            kind=order.type.value,
            # The money of a wallet is a liability: it is debited to give, credited to receive.
            entries=(
                EntryDraft(source, order.amount_minor),
                EntryDraft(destination, -order.amount_minor),
            ),
            description=order.description,
            effective_at=order.effective_at,
        )
    )
    if failure is not None:
        failure = _explained(failure, numbered, state)
    payment = Payment(
        id=numbered.id,
        order=order,
        status=PaymentStatus.FAILED if failure else PaymentStatus.COMPLETED,
        created_at=state.book.now,
        failure=failure,
    )
    return Outcome(payment=payment, refusal=failure)


def _unfit(order: PaymentOrder, state: State) -> Refusal | None:
    """What is wrong with what the caller names: nothing is kept of such an order."""
    source = destination = None
    if order.from_wallet_id is not None:
        source = state.wallets.get(order.from_wallet_id)
        if source is None or source.owner_id != order.caller_id:
            return WalletNotFound(field="from_wallet_id")
    if order.to_wallet_id is not None:
        destination = state.wallets.get(order.to_wallet_id)
        if destination is None:
            return WalletNotFound(field="to_wallet_id")
        if source is None and destination.owner_id != order.caller_id:
            return WalletNotFound(field="wallet_id")
    for wallet in (source, destination):
        if wallet is not None and wallet.currency is not order.currency:
            return CurrencyMismatch(fields={"currency": f"the wallet holds {wallet.currency.code}"})
    return None


def _ends(order: PaymentOrder, state: State) -> tuple[AccountId | None, AccountId | None]:
    """The accounts the money leaves and enters; None where funding is needed and there is none."""
    source, destination = order.from_wallet_id, order.to_wallet_id
    return (
        state.funding(order.currency) if source is None else AccountId(source),
        state.funding(order.currency) if destination is None else AccountId(destination),
    )


def _explained(failure: Refusal, numbered: Numbered, state: State) -> Refusal:
    """The ledger's refusal in words of payments, with the id of the payment that it is kept as."""
    if isinstance(failure, AccountFrozen):
        failure = _why_frozen(numbered.order, state, failure)
    failure.details = {**failure.details, "transaction_id": str(numbered.id)}
    return failure


def _why_frozen(order: PaymentOrder, state: State, frozen: AccountFrozen) -> Refusal:
    """A wallet that was never activated has a frozen account too: say which it is."""
    for wallet_id in (order.from_wallet_id, order.to_wallet_id):
        wallet = None if wallet_id is None else state.wallets.get(wallet_id)
        if wallet is not None and str(wallet.id) == frozen.details.get("account_id"):
            if wallet.status is WalletStatus.PENDING:
                return WalletNotActive(wallet_id=str(wallet.id))
            return AccountFrozen(wallet_id=str(wallet.id))
    return frozen
