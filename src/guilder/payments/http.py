"""Routes of payments: parse, call one use case, answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from msgspec import Meta, Struct

from guilder.identity.api.verifications import (
    Asked,
    InvalidVerificationToken,
    Operation,
    TooManyVerifications,
    VerificationExpired,
    VerificationNeeded,
    Verifications,
    token_digest,
)
from guilder.kernel.currencies import UnknownCurrency, currency
from guilder.kernel.errors import IdempotencyKeyReused, Refusal, ValidationFailed
from guilder.kernel.ids import SessionId, TransactionId, UserId, WalletId
from guilder.kernel.invariant import InvariantViolation
from guilder.kernel.money import BadAmount, format_minor, parse_amount
from guilder.ledger.api import (
    AccountClosed,
    AccountFrozen,
    BalanceTooLarge,
    InsufficientFunds,
    LimitExceeded,
)
from guilder.payments.api import (
    CounterpartyLimited,
    CurrencyMismatch,
    FundingUnavailable,
    Outcome,
    Payment,
    PaymentNotFound,
    PaymentOrder,
    Payments,
    PaymentStatus,
    PaymentType,
    Search,
)
from guilder.payments.domain import verified_parameters
from guilder.payments.service.reading import AFTER_ALL, PaymentReading
from guilder.platform.http.fields import Amount, CurrencyCode, Description, Moment
from guilder.platform.http.pages import Page
from guilder.platform.http.route import Answer, AnyAnswer, Handler, RefusedAnswer, Request, Route
from guilder.platform.identifiers import native
from guilder.platform.origin import current
from guilder.wallets.api import WalletNotActive, WalletNotFound

_TAG: Final = "Payments"
_REPLAYED: Final = (("Idempotency-Replayed", "true"),)
_REFUSALS: Final[tuple[type[Refusal], ...]] = (
    BadAmount,
    UnknownCurrency,
    CurrencyMismatch,
    WalletNotFound,
    IdempotencyKeyReused,
    WalletNotActive,
    AccountFrozen,
    AccountClosed,
    LimitExceeded,
    CounterpartyLimited,
    InsufficientFunds,
    BalanceTooLarge,
)
_UNVERIFIED: Final = (InvalidVerificationToken, VerificationExpired, TooManyVerifications)


class SameWallet(ValidationFailed):
    """A transfer names one wallet twice."""

    message = "A transfer needs two different wallets."

    def __init__(self) -> None:
        super().__init__(None, fields={"to_wallet_id": "must differ from from_wallet_id"})


class WalletPayment(Struct, forbid_unknown_fields=True, kw_only=True):
    """Money into or out of one of the caller's wallets."""

    wallet_id: WalletId
    amount: Amount
    currency: CurrencyCode
    description: Description | None = None


class Transfer(Struct, forbid_unknown_fields=True, kw_only=True):
    """Money from one of the caller's wallets to any wallet of the same currency.

    A high amount needs a ``verification_token``; without one, the answer is 202 and says of which
    verification it has to be.
    """

    from_wallet_id: WalletId
    to_wallet_id: WalletId
    amount: Amount
    currency: CurrencyCode
    description: Description | None = None
    verification_token: Annotated[str, Meta(min_length=1, max_length=200)] | None = None


class PaymentBody(Struct, kw_only=True, omit_defaults=True):
    """A payment as its parties see it; the amount is in major units.

    ``effective_at`` is when it counts, where that is before it was recorded.
    """

    id: TransactionId
    type: str
    status: str
    amount: str
    currency: str
    description: str
    created_at: datetime
    effective_at: datetime | None = None
    from_wallet_id: WalletId | None = None
    to_wallet_id: WalletId | None = None
    failure_code: str | None = None
    failure_message: str | None = None


class PaymentList(Page, kw_only=True, frozen=True):
    """Which payments to list. Amounts need the currency they are in."""

    wallet_id: WalletId | None = None
    type: PaymentType | None = None
    status: PaymentStatus | None = None
    currency: CurrencyCode | None = None
    min_amount: Amount | None = None
    max_amount: Amount | None = None
    start_date: Moment | None = None
    end_date: Moment | None = None
    q: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    counterparty: WalletId | None = None


def routes(
    payments: Payments, reading: PaymentReading, verifications: Verifications
) -> tuple[Route, ...]:
    """Every route of payments."""
    handlers = PaymentRoutes(payments, reading, verifications)
    return (
        _money_route(
            "/transactions/deposit",
            handlers.wallet_payment(PaymentType.DEPOSIT),
            summary="Deposit into a wallet",
            body=WalletPayment,
            raises=(*_REFUSALS, FundingUnavailable),
        ),
        _money_route(
            "/transactions/topup",
            handlers.wallet_payment(PaymentType.TOPUP),
            summary="Top a wallet up",
            body=WalletPayment,
            raises=(*_REFUSALS, FundingUnavailable),
        ),
        _money_route(
            "/transactions/withdrawal",
            handlers.wallet_payment(PaymentType.WITHDRAWAL),
            summary="Withdraw from a wallet",
            body=WalletPayment,
            raises=(*_REFUSALS, FundingUnavailable),
        ),
        _money_route(
            "/transactions/transfer",
            handlers.transfer,
            summary="Transfer to another wallet",
            body=Transfer,
            raises=(*_REFUSALS, SameWallet, *_UNVERIFIED),
            accepted=VerificationNeeded,
        ),
        _money_route(
            "/transactions/transfers",
            handlers.transfer,
            summary="Transfer to another wallet",
            body=Transfer,
            raises=(*_REFUSALS, SameWallet, *_UNVERIFIED),
            accepted=VerificationNeeded,
            listed=False,
        ),
        *_reading_routes(handlers),
    )


class PaymentRoutes:
    """The handlers behind the routes."""

    def __init__(
        self, payments: Payments, reading: PaymentReading, verifications: Verifications
    ) -> None:
        self._payments = payments
        self._reading = reading
        self._verifications = verifications

    def wallet_payment(self, type_: PaymentType) -> Handler:
        """The handler for one kind of payment between a wallet and the outside."""
        goes_out = type_ is PaymentType.WITHDRAWAL

        async def handler(request: Request) -> AnyAnswer:
            body: WalletPayment = request.body
            unit, wallet_id = currency(body.currency), WalletId(native(body.wallet_id))
            outcome = await self._payments.pay(
                PaymentOrder(
                    type=type_,
                    caller_id=request.user.user_id,
                    key=request.idempotency_key,
                    amount_minor=parse_amount(body.amount, unit),
                    currency=unit,
                    from_wallet_id=wallet_id if goes_out else None,
                    to_wallet_id=None if goes_out else wallet_id,
                    description=body.description or "",
                    origin=current(),
                )
            )
            return _answer(outcome)

        handler.__doc__ = (
            "Executed at once; answered after the commit. Safe to repeat with its key."
        )
        return handler

    async def transfer(self, request: Request) -> AnyAnswer:
        """Executed at once; answered after the commit. Safe to repeat with its key.

        A transfer above the limit of its currency (50,000 INR) is not executed but answered with
        202, and has to be repeated with the token of the verification that the answer names.
        """
        body: Transfer = request.body
        unit = currency(body.currency)
        if body.from_wallet_id == body.to_wallet_id:
            raise SameWallet
        token = body.verification_token
        order = PaymentOrder(
            type=PaymentType.TRANSFER,
            caller_id=request.user.user_id,
            key=request.idempotency_key,
            amount_minor=parse_amount(body.amount, unit),
            currency=unit,
            from_wallet_id=WalletId(native(body.from_wallet_id)),
            to_wallet_id=WalletId(native(body.to_wallet_id)),
            description=body.description or "",
            origin=current(),
            verification=None if token is None else token_digest(token),
        )
        outcome = await self._payments.pay(order)
        if outcome.needs_verification:
            return await self._ask(order, session_id=request.user.session_id)
        return _answer(outcome)

    async def _ask(self, order: PaymentOrder, *, session_id: SessionId | None) -> Answer:
        parameters = verified_parameters(order)
        asked = Asked(
            account_id=order.caller_id,
            session_id=session_id,
            operation=Operation.HIGH_VALUE_TRANSFER,
            parameters=parameters,
            shown=parameters,
        )
        return Answer(data=await self._verifications.demand(asked), status=202)

    async def one(self, request: Request) -> Answer:
        """A payment that the caller made or received."""
        payment = await self._reading.one(
            request.user.user_id, payment_id=TransactionId(request.id("transaction_id"))
        )
        return Answer(data=_body(payment))

    async def list(self, request: Request) -> Answer:
        """Payments of the caller's wallets, newest first. Filters are bound into the cursor."""
        query: PaymentList = request.query
        return await self._page(request, query, wallet_id=query.wallet_id)

    async def of_wallet(self, request: Request) -> Answer:
        """Payments of one wallet, newest first."""
        return await self._page(request, request.query, wallet_id=WalletId(request.id("wallet_id")))

    async def _page(
        self, request: Request, query: PaymentList | Page, *, wallet_id: WalletId | None
    ) -> Answer:
        caller_id = request.user.user_id
        search = _search(query) if isinstance(query, PaymentList) else Search()
        filters = _filters(search, caller_id=caller_id, wallet_id=wallet_id)
        before = TransactionId(query.position(UUID, filters=filters, otherwise=AFTER_ALL))
        payments = await self._reading.page(
            caller_id, search=search, before=before, limit=query.asked, wallet_id=wallet_id
        )
        return query.answer(
            payments, filters=filters, position=lambda payment: payment.id, body=_body
        )


def _money_route(
    path: str,
    handler: Handler,
    *,
    summary: str,
    body: type[Struct],
    raises: tuple[type[Refusal], ...],
    accepted: type[Struct] | None = None,
    listed: bool = True,
) -> Route:
    return Route(
        method="POST",
        path=path,
        handler=handler,
        access="payments:write",
        summary=summary,
        tag=_TAG,
        body=body,
        answers=PaymentBody,
        status=201,
        accepted=accepted,
        moves_money=True,
        key_means="Names the payment, so that repeating it is safe for 24 hours.",
        raises=raises,
        listed=listed,
    )


def _reading_routes(handlers: PaymentRoutes) -> tuple[Route, ...]:
    lists = tuple(
        Route(
            method="GET",
            path=path,
            handler=handlers.list,
            access="payments:read",
            summary=summary,
            tag=_TAG,
            query=PaymentList,
            answers=PaymentBody,
            is_list=True,
            raises=(WalletNotFound,),
        )
        for path, summary in (
            ("/transactions", "List one's payments"),
            ("/transactions/search", "Search one's payments"),
        )
    )
    return (
        *lists,
        Route(
            method="GET",
            path="/transactions/account/{wallet_id}",
            handler=handlers.of_wallet,
            access="payments:read",
            summary="List a wallet's payments",
            tag=_TAG,
            query=Page,
            answers=PaymentBody,
            is_list=True,
            raises=(WalletNotFound,),
        ),
        Route(
            method="GET",
            path="/transactions/{transaction_id}",
            handler=handlers.one,
            access="payments:read",
            summary="Look at a payment",
            tag=_TAG,
            answers=PaymentBody,
            raises=(PaymentNotFound,),
        ),
    )


def _answer(outcome: Outcome) -> AnyAnswer:
    headers = _REPLAYED if outcome.is_replay else ()
    if outcome.refusal is not None:
        return RefusedAnswer(refusal=outcome.refusal, headers=headers)
    if outcome.payment is None:
        raise InvariantViolation("an order that was not refused made a payment")
    return Answer(data=_body(outcome.payment), headers=headers)


def _body(payment: Payment) -> PaymentBody:
    order, failure = payment.order, payment.failure
    return PaymentBody(
        id=payment.id,
        type=order.type.value,
        status=payment.status.value,
        amount=format_minor(order.amount_minor, order.currency),
        currency=order.currency.code,
        description=order.description,
        created_at=payment.created_at,
        effective_at=order.effective_at,
        from_wallet_id=order.from_wallet_id,
        to_wallet_id=order.to_wallet_id,
        failure_code=failure.code if failure else None,
        failure_message=failure.message if failure else None,
    )


def _search(query: PaymentList) -> Search:
    unit = None if query.currency is None else currency(query.currency)
    bounds: dict[str, int] = {}
    for name, amount in (("min_amount", query.min_amount), ("max_amount", query.max_amount)):
        if amount is not None:
            if unit is None:
                raise ValidationFailed(fields={name: "needs the currency it is in"})
            bounds[name] = parse_amount(amount, unit, field=name)
    return Search(
        types=None if query.type is None else (query.type,),
        status=query.status,
        least_minor=bounds.get("min_amount"),
        most_minor=bounds.get("max_amount"),
        since=query.start_date,
        until=query.end_date,
        currency=query.currency,
        text=query.q,
        counterparty=query.counterparty,
    )


def _filters(search: Search, *, caller_id: UserId, wallet_id: WalletId | None) -> dict[str, object]:
    return {"list": "payments", "owner": caller_id, "wallet": wallet_id, "search": search}
