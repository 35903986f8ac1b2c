"""Fills a database with the demonstration, through the use cases that everybody has."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Final
from uuid import UUID

from guilder.apps.compose import key_folder, outer_keys
from guilder.apps.demo import cast
from guilder.apps.demo.activity import (
    HOLIDAY,
    Planned,
    Pocket,
    default_pocket,
    first_day,
    planned,
    pockets,
)
from guilder.identity.api import Applicant
from guilder.identity.module import build_registration, build_staff
from guilder.kernel.ids import UserId, WalletId
from guilder.ledger.api import ControlLimits
from guilder.ledger.module import build_ledger
from guilder.payments.api import PaymentOrder, PaymentType
from guilder.payments.module import build_engine, simulated_funding
from guilder.platform.db import Database, Tx
from guilder.platform.permissions import ADMIN
from guilder.platform.settings import Settings
from guilder.platform.startup import CannotStart
from guilder.wallets.api import Act, WalletStatus
from guilder.wallets.module import build_service, in_money_core

_BEFORE_ALL: Final = WalletId(UUID(int=0))
_LONGEST_PAUSE: Final = timedelta(hours=20)
"""An interrupted filling goes on safely as long as the keys of its payments are remembered."""
_MOST_SALARIES: Final = 30
"""What a verified person may pay at once, in highest salaries of their place."""


class CannotGoOn(CannotStart):
    """An earlier filling was cut short too long ago."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """What was filled in, or that it had been before."""

    was_there: bool
    payments: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class Filling:
    """One filling of one database."""

    def __init__(
        self, db: Database, *, settings: Settings, now: datetime, say: Callable[[str], None]
    ) -> None:
        ledger = build_ledger()
        self._db = db
        self._now = now
        self._say = say
        self._registration = build_registration(
            db=db, contacts=outer_keys(settings), default_region=settings.default_region
        )
        self._staff = build_staff(
            db=db,
            keys=key_folder(settings),
            contacts=outer_keys(settings),
            default_region=settings.default_region,
        )
        self._wallets = build_service(db=db, ledger=ledger, time_zone=settings.time_zone)
        self._engine = build_engine(
            db=db, ledger=ledger, wallets=in_money_core(), funding=simulated_funding
        )
        self._people: dict[str, UserId] = {}
        self._ids: dict[Pocket, WalletId] = {}

    async def fill(self, *, seed: int) -> Filled:
        """Fill everything in, unless it is there; go on where an interrupted filling stopped.

        Raises:
            CannotGoOn: an earlier filling was cut short too long ago.
        """
        try:
            return await self._fill(seed=seed)
        finally:
            await self._engine.close()
            await self._registration.close()

    async def _fill(self, *, seed: int) -> Filled:
        began = await self._sign_up(cast.PEOPLE[0])
        if await self._is_done():
            return Filled(was_there=True)
        if began < self._now - _LONGEST_PAUSE:
            raise CannotGoOn(
                f"a demo that began {began:%Y-%m-%d %H:%M} UTC was cut short and cannot be "
                "finished; set GUILDER_DATA_DIR to a new folder"
            )
        everybody: tuple[cast.Member | cast.Business, ...] = (
            *cast.PEOPLE,
            cast.NEWCOMER,
            *cast.BUSINESSES,
        )
        self._say(f"{len(everybody)} people and businesses sign up")
        await asyncio.gather(*(self._sign_up(somebody) for somebody in everybody))
        await self._staff.appoint(
            email=cast.ADMINISTRATOR, role=ADMIN, full_name="Demo Admin", password=cast.PASSWORD
        )
        self._say(f"{len(pockets())} wallets are opened")
        for pocket in pockets():
            self._ids[pocket] = await self._open(pocket)
        payments = planned(seed=seed, since=first_day(began.date()), until=began)
        self._say(f"{len(payments):,} payments, from {payments[0].at:%d %B %Y} on")
        refused = await self._pay(payments, seed=seed)
        await self._lose_a_phone()
        refused += await self._pay([_after_the_loss(began)], seed=seed, first=len(payments))
        await self._close_a_wallet()
        return Filled(was_there=False, payments=len(payments) + 1, refused=refused)

    async def _sign_up(self, somebody: cast.Member | cast.Business) -> datetime:
        """Register somebody, unless they are, and answer since when they are."""
        account = await self._registration.registered(somebody.email)
        if account is None:
            account = await self._registration.register(
                Applicant(
                    email=somebody.email,
                    full_name=somebody.name,
                    phone=somebody.phone,
                    password=cast.PASSWORD,
                )
            )
        self._people[somebody.email] = account.id
        return account.created_at

    async def _open(self, pocket: Pocket) -> WalletId:
        """The wallet of a pocket, open and with the limits of its owner's standing."""
        owner_id, currency = self._people[pocket.owner], pocket.currency
        if pocket.label:
            found = await self._labelled(owner_id, label=pocket.label)
            if found is not None:
                return found
            return await self._db.run(
                lambda tx: self._wallets.open_active_wallet(
                    tx, owner_id, currency=currency, label=pocket.label
                )
            )
        limits = _limits(pocket)

        async def open_with_limits(tx: Tx) -> None:
            await self._wallets.open_default_wallet(tx, owner_id, currency)
            if limits is not None:
                await self._wallets.set_limits(tx, owner_id, currency=currency, limits=limits)

        await self._db.run(open_with_limits)
        return (await self._wallets.default_wallet(owner_id, currency=currency)).wallet.id

    async def _labelled(self, owner_id: UserId, *, label: str) -> WalletId | None:
        views = await self._wallets.list_wallets(owner_id, after=_BEFORE_ALL, limit=100)
        return next((view.wallet.id for view in views if view.wallet.label == label), None)

    async def _pay(self, payments: Sequence[Planned], *, seed: int, first: int = 0) -> Counter[str]:
        """Make payments in their order, a day at a time; answer how many were refused and why.

        Keys are numbered, so that an interrupted filling replays what it has done.
        """
        refused: Counter[str] = Counter()
        numbered = enumerate(payments, start=first)
        for _, day in groupby(numbered, key=lambda each: each[1].at.astimezone(UTC).date()):
            orders = [self._order(paid, key=f"demo-{seed}-{number}") for number, paid in day]
            outcomes = await asyncio.gather(*(self._engine.pay(order) for order in orders))
            refused.update(o.refusal.code for o in outcomes if o.refusal is not None)
        return refused

    def _order(self, payment: Planned, *, key: str) -> PaymentOrder:
        source, target = payment.source, payment.target
        return PaymentOrder(
            type=payment.type,
            caller_id=self._people[payment.pocket.owner],
            key=key,
            amount_minor=payment.amount_minor,
            currency=payment.pocket.currency,
            from_wallet_id=None if source is None else self._ids[source],
            to_wallet_id=None if target is None else self._ids[target],
            description=payment.description,
            effective_at=payment.at.astimezone(UTC),
        )

    async def _lose_a_phone(self) -> None:
        pocket = default_pocket(cast.LOST.email, place=cast.LOST.place)
        await self._wallets.change(
            self._people[pocket.owner], wallet_id=self._ids[pocket], act=Act.FREEZE
        )

    async def _close_a_wallet(self) -> None:
        """The last act: `_is_done` looks for it."""
        await self._wallets.change(
            self._people[cast.LEAVING.email], wallet_id=self._ids[_holiday()], act=Act.CLOSE
        )

    async def _is_done(self) -> bool:
        leaving = await self._registration.registered(cast.LEAVING.email)
        if leaving is None:
            return False
        wallet_id = await self._labelled(leaving.id, label=HOLIDAY)
        if wallet_id is None:
            return False
        view = await self._wallets.view(leaving.id, wallet_id=wallet_id)
        return view.wallet.standing.status is WalletStatus.CLOSED


def _limits(pocket: Pocket) -> ControlLimits | None:
    """Businesses have none, verified people one for each payment, who is not verified the usual."""
    if pocket.owner == cast.NEWCOMER.email:
        return None
    if pocket.owner not in {member.email for member in cast.PEOPLE}:
        return ControlLimits()
    _, highest = cast.PLACES[pocket.currency.code].prices.salary
    return ControlLimits(
        per_transaction_minor=_MOST_SALARIES * highest * pocket.currency.minor_per_unit
    )


def _after_the_loss(began: datetime) -> Planned:
    """Somebody tries to pay with the phone that was lost."""
    place = cast.PLACES[cast.LOST.place]
    units, _ = place.prices.groceries
    return Planned(
        at=began.replace(microsecond=0) - timedelta(minutes=1),
        type=PaymentType.TRANSFER,
        source=default_pocket(cast.LOST.email, place=cast.LOST.place),
        target=default_pocket(_email_of(cast.GROCER), place=cast.LOST.place),
        amount_minor=units * place.currency.minor_per_unit,
        description="Groceries",
    )


def _holiday() -> Pocket:
    currency = cast.PLACES[cast.LEAVING.place].currency
    return Pocket(owner=cast.LEAVING.email, currency=currency, label=HOLIDAY)


def _email_of(name: str) -> str:
    return next(business.email for business in cast.BUSINESSES if business.name == name)
