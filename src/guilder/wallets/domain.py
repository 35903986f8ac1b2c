"""Pure rules of wallets: which status may follow which, who may do it, and starting limits."""

from __future__ import annotations

from typing import Final
from uuid import UUID, uuid5

from msgspec import Struct

from guilder.kernel.currencies import Currency
from guilder.kernel.errors import Conflict, Refusal
from guilder.kernel.ids import ControlId, UserId
from guilder.ledger.api import ControlLimits, Direction, NewControl
from guilder.wallets.api import (
    Act,
    WalletClosed,
    WalletFrozenByStaff,
    WalletNotActive,
    WalletStatus,
)

MOST_WALLETS: Final = 100
"""How many wallets an owner may open, unless the installation says otherwise."""


class StandingWallet(Struct, frozen=True, kw_only=True):
    """A wallet's status, and who froze it when it is frozen."""

    status: WalletStatus
    frozen_by_staff: bool = False


def next_standing(wallet: StandingWallet, act: Act, *, by_staff: bool) -> StandingWallet | Refusal:
    """The standing after ``act``, or why it may not be done.

    Repeating what is already so changes nothing, so that a lost answer can be asked for again.
    """
    if wallet.status is WalletStatus.CLOSED:
        return wallet if act is Act.CLOSE else WalletClosed()
    match act:
        case Act.CLOSE:
            return _closed(wallet, by_staff=by_staff)
        case Act.FREEZE:
            return _frozen(wallet, by_staff=by_staff)
        case Act.ACTIVATE:
            if wallet.status is WalletStatus.FROZEN:
                return Conflict("A frozen wallet is unfrozen, not activated.")
            return StandingWallet(status=WalletStatus.ACTIVE)
        case Act.UNFREEZE:  # pragma: no branch - the last act
            return _unfrozen(wallet, by_staff=by_staff)


def _closed(wallet: StandingWallet, *, by_staff: bool) -> StandingWallet | Refusal:
    if wallet.frozen_by_staff and not by_staff:
        return WalletFrozenByStaff()
    return StandingWallet(status=WalletStatus.CLOSED)


def _frozen(wallet: StandingWallet, *, by_staff: bool) -> StandingWallet | Refusal:
    if wallet.status is WalletStatus.PENDING and not by_staff:
        return WalletNotActive()
    return StandingWallet(
        status=WalletStatus.FROZEN, frozen_by_staff=by_staff or wallet.frozen_by_staff
    )


def _unfrozen(wallet: StandingWallet, *, by_staff: bool) -> StandingWallet | Refusal:
    if wallet.status is not WalletStatus.FROZEN:
        return WalletNotActive() if wallet.status is WalletStatus.PENDING else wallet
    if wallet.frozen_by_staff and not by_staff:
        return WalletFrozenByStaff()
    return StandingWallet(status=WalletStatus.ACTIVE)


_STARTING_UNITS: Final = {
    # About 10,000 INR each, rounded to a figure that reads well in the currency.
    "INR": 10_000,
    "USD": 120,
    "EUR": 100,
    "GBP": 90,
    "CHF": 100,
    "AUD": 180,
    "CAD": 160,
    "SGD": 160,
    "NZD": 200,
    "AED": 440,
    "SAR": 450,
    "CNY": 850,
    "HKD": 930,
    "JPY": 18_000,
    "KRW": 160_000,
    "BHD": 45,
    "KWD": 37,
    "OMR": 46,
}
_CAUTIOUS_UNITS: Final = 100
"""For every other currency: little in a weak one, a small sum in a strong one."""
_DAYS_WORTH: Final = 2
_MONTHS_WORTH: Final = 10

_CONTROL_NAMESPACE: Final = UUID("5a2d0d57-9a0f-5c68-8f5e-0d3c6b7a9e11")
FUNDING_KINDS: Final = frozenset({"deposit", "topup"})


def starting_limits(currency: Currency) -> ControlLimits:
    """What an owner nobody has verified may move: 10,000 INR at once, 20,000 a day, 100,000 a
    month, or about as much in another currency.
    """
    single = _STARTING_UNITS.get(currency.code, _CAUTIOUS_UNITS) * currency.minor_per_unit
    return ControlLimits(
        per_transaction_minor=single,
        per_day_minor=single * _DAYS_WORTH,
        per_month_minor=single * _MONTHS_WORTH,
    )


def control_id(owner_id: UserId, currency: Currency, direction: Direction) -> ControlId:
    """The id of the control on what an owner sends, or funds, in a currency."""
    return ControlId(uuid5(_CONTROL_NAMESPACE, f"{owner_id}:{currency.code}:{direction.value}"))


def starting_controls(
    owner_id: UserId, currency: Currency, *, limits: ControlLimits, time_zone: str
) -> tuple[NewControl, NewControl]:
    """The controls on an owner's payments out and on funding from outside, in one currency."""
    out, funding = (
        NewControl(
            id=control_id(owner_id, currency, direction),
            subject_id=owner_id,
            currency=currency,
            direction=direction,
            limits=limits,
            time_zone=time_zone,
            kinds=kinds,
        )
        for direction, kinds in (
            (Direction.OUTFLOW, None),
            (Direction.INFLOW, FUNDING_KINDS),
        )
    )
    return out, funding
