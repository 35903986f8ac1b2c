"""Routes of wallets: parse, call one use case, answer."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct

from guilder.kernel.currencies import Currency, UnknownCurrency, currency
from guilder.kernel.errors import Conflict
from guilder.kernel.ids import UserId, WalletId
from guilder.kernel.money import format_minor
from guilder.ledger.api import AccountNotEmpty, Entry
from guilder.platform.http.fields import CurrencyCode, Label, Moment
from guilder.platform.http.pages import Page, Position
from guilder.platform.http.route import Answer, Request, Route
from guilder.wallets.api import (
    Act,
    TooManyWallets,
    WalletClosed,
    WalletFrozenByStaff,
    WalletNotActive,
    WalletNotFound,
)
from guilder.wallets.service import BEFORE_ALL, WalletService, WalletView

_TAG: Final = "Wallets"


class OpenWallet(Struct, forbid_unknown_fields=True, kw_only=True):
    """A wallet to be opened."""

    currency: CurrencyCode
    label: Label | None = None


class WalletBody(Struct, kw_only=True):
    """A wallet and what is in it, in major units."""

    id: WalletId
    user_id: UserId
    currency: str
    label: str
    balance: str
    available: str
    held: str
    status: str
    is_default: bool
    created_at: datetime


class BalanceQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    """When: now, or the time after which nothing recorded counts any more."""

    at: Moment | None = None


class BalanceBody(Struct, kw_only=True, omit_defaults=True):
    """A balance in major units; what is available and held only for now."""

    wallet_id: WalletId
    currency: str
    balance: str
    as_of: datetime
    available: str | None = None
    held: str | None = None


class HistoryLine(Struct, kw_only=True):
    """One change of a wallet's balance. ``direction`` is seen from its owner.

    ``created_at`` is when it was recorded, ``effective_at`` when it counts.
    """

    sequence: int
    transaction_id: UUID
    type: str
    direction: str
    amount: str
    balance_after: str
    currency: str
    description: str
    created_at: datetime
    effective_at: datetime


class FreezeOwner(Struct, forbid_unknown_fields=True, kw_only=True):
    """Whose wallets to freeze or unfreeze."""

    user_id: UserId


def routes(service: WalletService, *, default_currency: Currency) -> tuple[Route, ...]:
    """Every route of wallets."""
    handlers = WalletRoutes(service, default_currency=default_currency)
    return (
        Route(
            method="POST",
            path="/wallets",
            handler=handlers.open,
            access="wallets:write",
            summary="Open a wallet",
            tag=_TAG,
            body=OpenWallet,
            answers=WalletBody,
            status=201,
            raises=(UnknownCurrency, TooManyWallets),
            example={"currency": "INR"},
        ),
        Route(
            method="GET",
            path="/wallets",
            handler=handlers.list,
            access="wallets:read",
            summary="List one's wallets",
            tag=_TAG,
            query=Page,
            answers=WalletBody,
            is_list=True,
        ),
        Route(
            method="GET",
            path="/wallets/{wallet_id}",
            handler=handlers.one,
            access="wallets:read",
            summary="Look at a wallet",
            tag=_TAG,
            answers=WalletBody,
            raises=(WalletNotFound,),
        ),
        *(handlers.act_route(act) for act in Act),
        Route(
            method="GET",
            path="/wallets/{wallet_id}/balance",
            handler=handlers.balance,
            access="wallets:read",
            summary="The balance now or at a time",
            tag=_TAG,
            query=BalanceQuery,
            answers=BalanceBody,
            raises=(WalletNotFound,),
        ),
        Route(
            method="GET",
            path="/wallets/{wallet_id}/history",
            handler=handlers.history,
            access="wallets:read",
            summary="Changes of a wallet's balance, newest first",
            tag=_TAG,
            query=Page,
            answers=HistoryLine,
            is_list=True,
            raises=(WalletNotFound,),
        ),
        *handlers.default_wallet_routes(),
    )


class WalletRoutes:
    """The handlers behind the routes."""

    def __init__(self, service: WalletService, *, default_currency: Currency) -> None:
        self._service = service
        self._default_currency = default_currency

    async def open(self, request: Request) -> Answer:
        """A new wallet is pending until it is activated."""
        body: OpenWallet = request.body
        view = await self._service.open_wallet(
            request.user.user_id, currency=currency(body.currency), label=body.label or ""
        )
        return Answer(data=_wallet(view))

    async def list(self, request: Request) -> Answer:
        """Every wallet the caller has ever opened, in order of opening."""
        owner_id = request.user.user_id
        page: Page = request.query
        filters = {"list": "wallets", "owner": owner_id}
        after = page.position(UUID, filters=filters, otherwise=BEFORE_ALL)
        views = await self._service.list_wallets(owner_id, after=WalletId(after), limit=page.asked)
        return page.answer(
            views, filters=filters, position=lambda view: view.wallet.id, body=_wallet
        )

    async def one(self, request: Request) -> Answer:
        """One of the caller's wallets."""
        view = await self._service.view(
            request.user.user_id, wallet_id=WalletId(request.id("wallet_id"))
        )
        return Answer(data=_wallet(view))

    async def balance(self, request: Request) -> Answer:
        """What is posted, what open holds reserve, and what is left to spend."""
        view = await self._service.balance(
            request.user.user_id,
            wallet_id=WalletId(request.id("wallet_id")),
            at=request.query.at,
        )
        unit = view.currency
        return Answer(
            data=BalanceBody(
                wallet_id=view.wallet_id,
                currency=unit.code,
                balance=format_minor(view.balance_minor, unit),
                available=_optional(view.available_minor, unit),
                held=_optional(view.held_minor, unit),
                as_of=view.as_of,
            )
        )

    async def history(self, request: Request) -> Answer:
        """Read from stored entries; a page deep in the past costs what the first one does."""
        return await self._history(request, WalletId(request.id("wallet_id")))

    async def default_wallet(self, request: Request) -> Answer:
        """The caller's default wallet."""
        return Answer(data=_wallet(await self._default(request)))

    async def default_history(self, request: Request) -> Answer:
        """Changes of the default wallet's balance, newest first."""
        return await self._history(request, (await self._default(request)).wallet.id)

    def act_route(self, act: Act) -> Route:
        """The route on which an owner does ``act``."""

        async def handler(request: Request) -> Answer:
            view = await self._service.change(
                request.user.user_id, wallet_id=WalletId(request.id("wallet_id")), act=act
            )
            return Answer(data=_wallet(view))

        handler.__doc__ = "Repeating it is safe and changes nothing."
        return Route(
            method="POST",
            path=f"/wallets/{{wallet_id}}/{act.value}",
            handler=handler,
            access="wallets:write",
            summary=f"{act.value.capitalize()} a wallet",
            tag=_TAG,
            answers=WalletBody,
            raises=(
                WalletNotFound,
                WalletNotActive,
                WalletClosed,
                WalletFrozenByStaff,
                AccountNotEmpty,
                Conflict,
            ),
        )

    def default_wallet_routes(self) -> tuple[Route, ...]:
        """Short routes: the caller's default wallet, and freezing by staff."""
        return (
            Route(
                method="GET",
                path="/wallet",
                handler=self.default_wallet,
                access="wallets:read",
                summary="The default wallet",
                tag=_TAG,
                answers=WalletBody,
                raises=(WalletNotFound,),
            ),
            Route(
                method="GET",
                path="/wallet/history",
                handler=self.default_history,
                access="wallets:read",
                summary="Changes of the default wallet, newest first",
                tag=_TAG,
                query=Page,
                answers=HistoryLine,
                is_list=True,
                raises=(WalletNotFound,),
            ),
            *(self._staff_route(act) for act in (Act.FREEZE, Act.UNFREEZE)),
        )

    def _staff_route(self, act: Act) -> Route:
        async def handler(request: Request) -> Answer:
            views = await self._service.change_all_of(request.body.user_id, act=act)
            return Answer(data=[_wallet(view) for view in views])

        handler.__doc__ = "What staff froze, only staff unfreezes. Closed wallets stay closed."
        return Route(
            method="POST",
            path=f"/wallet/{act.value}",
            handler=handler,
            access="wallets:freeze_any",
            summary=f"{act.value.capitalize()} all of a user's wallets (staff)",
            tag=_TAG,
            body=FreezeOwner,
            answers=list[WalletBody],
            raises=(WalletNotFound,),
        )

    async def _default(self, request: Request) -> WalletView:
        return await self._service.default_wallet(
            request.user.user_id, currency=self._default_currency
        )

    async def _history(self, request: Request, wallet_id: WalletId) -> Answer:
        page: Page = request.query
        filters = {"list": "history", "wallet": wallet_id}
        before = page.position(Position, filters=filters, otherwise=None)
        wallet, entries = await self._service.history(
            request.user.user_id, wallet_id=wallet_id, before=before, limit=page.asked
        )
        return page.answer(
            entries,
            filters=filters,
            position=lambda entry: entry.sequence,
            body=lambda entry: _line(entry, wallet.currency),
        )


def _wallet(view: WalletView) -> WalletBody:
    wallet, account = view.wallet, view.account
    return WalletBody(
        id=wallet.id,
        user_id=wallet.owner_id,
        currency=wallet.currency.code,
        label=wallet.label,
        balance=format_minor(account.balance_minor, wallet.currency),
        available=format_minor(account.available_minor, wallet.currency),
        held=format_minor(account.held_minor, wallet.currency),
        status=wallet.standing.status.value,
        is_default=wallet.is_default,
        created_at=wallet.created_at,
    )


def _line(entry: Entry, unit: Currency) -> HistoryLine:
    # A wallet is a liability of the platform: a credit is money that came in.
    return HistoryLine(
        sequence=entry.sequence,
        transaction_id=entry.transaction_id,
        type=entry.kind,
        direction="in" if entry.amount_minor < 0 else "out",
        amount=format_minor(abs(entry.amount_minor), unit),
        balance_after=format_minor(entry.balance_after_minor, unit),
        currency=unit.code,
        description=entry.description,
        created_at=entry.recorded_at,
        effective_at=entry.effective_at,
    )


def _optional(minor: int | None, unit: Currency) -> str | None:
    return None if minor is None else format_minor(minor, unit)
