"""The pure decision of a batch of payments: orders and locked state in, outcomes out.

The order of the rules is their precedence: the key, the wallets named, ownership, currency, the
verification of what is high, then what the ledger's book says of status, controls and funds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final, TypeAlias
from uuid import UUID

from msgspec import Struct

from guilder.kernel.currencies import CURRENCIES, Currency, currency
from guilder.kernel.errors import IdempotencyKeyReused, Refusal
from guilder.kernel.ids import AccountId, TransactionId, UserId, WalletId
from guilder.kernel.invariant import invariant
from guilder.kernel.money import format_minor, parse_amount
from guilder.ledger.api import (
    AccountClosed,
    AccountFrozen,
    BalanceTooLarge,
    Book,
    Direction,
    EntryDraft,
    InsufficientFunds,
    LimitExceeded,
    Movement,
    TransactionDraft,
)
from guilder.payments.api import (
    CounterpartyLimited,
    CurrencyMismatch,
    FundingUnavailable,
    Outcome,
    Payment,
    PaymentOrder,
    PaymentStatus,
    PaymentType,
)
from guilder.wallets.api import Wallet, WalletNotActive, WalletNotFound, WalletStatus

KEY_LIFETIME: Final = timedelta(hours=24)
"""After this a key is new again."""

KEPT_REFUSALS: Final[Mapping[str, type[Refusal]]] = {
    refusal.code: refusal
    for refusal in (
        AccountClosed,
        AccountFrozen,
        BalanceTooLarge,
        CounterpartyLimited,
        InsufficientFunds,
        LimitExceeded,
        WalletNotActive,
    )
}
"""What a payment can fail with, by code: such a payment is kept, and its key is used up."""

# What 50,000 INR came to in late 2026, rounded to a figure that people remember.
_HIGH: Final = """
    AED=2000 AFN=40000 ALL=50000 AMD=200000 AOA=500000 ARS=800000 AUD=800 AWG=1000 AZN=900
    BAM=900 BBD=1500 BDT=70000 BHD=200 BIF=2000000 BMD=600 BND=700 BOB=4000 BRL=3000 BSD=600
    BTN=50000 BWP=7000 BYN=2000 BZD=1500 CAD=800 CDF=1500000 CHF=500 CLP=500000 CNY=4000
    COP=2000000 CRC=300000 CUP=15000 CVE=50000 CZK=15000 DJF=100000 DKK=4000 DOP=40000 DZD=70000
    EGP=25000 ERN=8000 ETB=80000 EUR=500 FJD=1500 FKP=400 GBP=400 GEL=1500 GHS=6000 GIP=400
    GMD=40000 GNF=5000000 GTQ=4000 GYD=150000 HKD=4000 HNL=15000 HTG=70000 HUF=200000
    IDR=9000000 ILS=2000 INR=50000 IQD=700000 IRR=25000000 ISK=70000 JMD=90000 JOD=400 JPY=80000
    KES=70000 KGS=50000 KHR=2500000 KMF=250000 KPW=500000 KRW=800000 KWD=200 KYD=500 KZT=300000
    LAK=15000000 LBP=50000000 LKR=200000 LRD=100000 LSL=9000 LYD=3000 MAD=5000 MDL=9000
    MGA=2500000 MKD=30000 MMK=1500000 MNT=2000000 MOP=5000 MRU=25000 MUR=25000 MVR=8000
    MWK=900000 MXN=10000 MYR=2500 MZN=40000 NAD=9000 NGN=800000 NIO=20000 NOK=6000 NPR=80000
    NZD=900 OMR=200 PAB=600 PEN=2000 PGK=2500 PHP=30000 PKR=150000 PLN=2000 PYG=4000000 QAR=2000
    RON=2500 RSD=60000 RUB=50000 RWF=800000 SAR=2000 SBD=5000 SCR=8000 SDG=400000 SEK=5000
    SGD=700 SHP=400 SLE=15000 SOS=300000 SRD=20000 SSP=70000 STN=15000 SVC=5000 SYP=6000000
    SZL=9000 THB=20000 TJS=5000 TMT=2000 TND=1500 TOP=1500 TRY=25000 TTD=4000 TWD=20000
    TZS=1500000 UAH=25000 UGX=2000000 USD=600 UYU=25000 UYW=13000 UZS=7000000 VED=150000 VES=150000
    VND=15000000 VUV=70000 WST=1500 XAF=300000 XCD=1500 XCG=1000 XOF=300000 XPF=60000 YER=150000
    ZAR=9000 ZMW=15000 ZWG=15000
"""

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
    high_value: Mapping[str, int] = {}
    """The most, in minor units, that is transferred without a verification, by currency."""
    verdicts: Mapping[UUID, Refusal | None] = {}
    """Of the verification tokens that orders came with, by the order's id; None: it is good."""


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


def high_value(changes: Sequence[str] = ()) -> dict[str, int]:
    """The table of high-value transfers, with ``changes`` such as ``"USD 1000"``: by currency.

    Raises:
        ValueError: a change is not a currency and an amount of it.
    """
    table: dict[str, int] = {}
    for entry in (*_HIGH.split(), *(change.replace(" ", "=") for change in changes)):
        code, _, amount = entry.partition("=")
        if code not in CURRENCIES:
            raise ValueError(f"{code} is not the code of a currency; write it as INR 50000")
        table[code] = parse_amount(amount, currency(code))
    return table


def is_high(order: PaymentOrder, *, high_value: Mapping[str, int]) -> bool:
    """Whether the order is a transfer that its caller has to verify first."""
    if order.type is not PaymentType.TRANSFER:
        return False
    most = high_value.get(order.currency.code)
    return most is not None and order.amount_minor > most


def verified_parameters(order: PaymentOrder) -> dict[str, str]:
    """All that the verification of a transfer is bound to: all that the portal shows of it."""
    return {
        "from_wallet_id": str(order.from_wallet_id),
        "to_wallet_id": str(order.to_wallet_id),
        "amount": format_minor(order.amount_minor, order.currency),
        "currency": order.currency.code,
        "description": order.description,
    }


def ends(
    order: PaymentOrder, *, funding: Callable[[Currency], AccountId | None]
) -> tuple[AccountId | None, AccountId | None]:
    """The accounts the money leaves and enters; None where funding is needed and there is none."""
    source, destination = order.from_wallet_id, order.to_wallet_id
    return (
        funding(order.currency) if source is None else AccountId(source),
        funding(order.currency) if destination is None else AccountId(destination),
    )


def movements(
    order: PaymentOrder, *, funding: Callable[[Currency], AccountId | None]
) -> list[Movement]:
    """What an order would move, by the accounts it names; they may not exist."""
    out, into = ends(order, funding=funding)
    # Outside money is an asset of the platform: it grows by what it gives to a wallet.
    leaves = Direction.INFLOW if order.from_wallet_id is None else Direction.OUTFLOW
    enters = Direction.OUTFLOW if order.to_wallet_id is None else Direction.INFLOW
    return [
        Movement(account_id, direction, order.type)
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
    if is_high(order, high_value=state.high_value):
        if numbered.id not in state.verdicts:
            return Outcome(needs_verification=True)
        refusal = state.verdicts[numbered.id]
        if refusal is not None:
            return Outcome(refusal=refusal)
    source, destination = ends(order, funding=state.funding)
    if source is None or destination is None:
        return Outcome(refusal=FundingUnavailable())
    failure = state.book.post(
        TransactionDraft(
            id=numbered.id,
            kind=order.type,
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
        if failure.code not in KEPT_REFUSALS:
            # Wallets have the accounts that they need; outside money may lack one that fits.
            invariant(order.type is not PaymentType.TRANSFER, "a wallet's account takes payments")
            return Outcome(refusal=FundingUnavailable())
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
        if source is None:
            return WalletNotFound(field="from_wallet_id")
        if source.owner_id != order.caller_id:
            return WalletNotFound.of_another(field="from_wallet_id")
    if order.to_wallet_id is not None:
        destination = state.wallets.get(order.to_wallet_id)
        # Whoever pays into their own wallet must not learn which of the others exist.
        if destination is None:
            return WalletNotFound(field="wallet_id" if source is None else "to_wallet_id")
        if source is None and destination.owner_id != order.caller_id:
            return WalletNotFound.of_another(field="wallet_id")
    for wallet in (source, destination):
        if wallet is not None and wallet.currency is not order.currency:
            return CurrencyMismatch(fields={"currency": f"the wallet holds {wallet.currency.code}"})
    return None


def _explained(failure: Refusal, numbered: Numbered, state: State) -> Refusal:
    """The ledger's refusal in words of payments, with the id of the payment that it is kept as."""
    if isinstance(failure, AccountFrozen):
        failure = _why_frozen(numbered.order, state, failure)
    if isinstance(failure, LimitExceeded) and not _is_own(failure, numbered.order, state):
        failure = CounterpartyLimited()
    failure.details = {**failure.details, "transaction_id": str(numbered.id)}
    return failure


def _is_own(exceeded: LimitExceeded, order: PaymentOrder, state: State) -> bool:
    """Whether the limit is on the caller, or on a wallet of theirs."""
    wallets = (state.wallets.get(id_) for id_ in (order.from_wallet_id, order.to_wallet_id) if id_)
    own = {wallet.id for wallet in wallets if wallet and wallet.owner_id == order.caller_id}
    return exceeded.subject_id in {order.caller_id, *own}


def _why_frozen(order: PaymentOrder, state: State, frozen: AccountFrozen) -> Refusal:
    """A wallet that was never activated has a frozen account too: say which it is."""
    for wallet_id in (order.from_wallet_id, order.to_wallet_id):
        wallet = None if wallet_id is None else state.wallets.get(wallet_id)
        if wallet is not None and str(wallet.id) == frozen.details.get("account_id"):
            if wallet.status is WalletStatus.PENDING:
                return WalletNotActive(wallet_id=str(wallet.id))
            return AccountFrozen(wallet_id=str(wallet.id))
    return frozen
