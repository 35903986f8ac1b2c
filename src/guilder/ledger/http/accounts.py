"""Routes that open, freeze and close accounts, and set floors and controls."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Final
from uuid import UUID
from zoneinfo import available_timezones

from msgspec import Meta, Struct

from guilder.kernel.currencies import Currency, UnknownCurrency, currency
from guilder.kernel.errors import Conflict, IdempotencyKeyReused, ValidationFailed
from guilder.kernel.ids import AccountId, ControlId, UserId
from guilder.kernel.money import BadAmount, format_minor, parse_amount
from guilder.ledger.api import (
    AccountClosed,
    AccountExists,
    AccountNotEmpty,
    AccountNotFound,
    AccountStatus,
    AccountType,
    ControlLimits,
    Direction,
    InsufficientFunds,
    KeptByItsContext,
    NewAccount,
    NewControl,
)
from guilder.ledger.http.bodies import (
    KEY_OF_AN_ID,
    REPLAYED,
    AccountBody,
    Kind,
    account_body,
    id_for,
    of_key,
    parse_floor,
)
from guilder.ledger.service.manage_accounts import ManageAccounts
from guilder.ledger.service.read_ledger import ReadLedger
from guilder.platform.http.fields import Amount, CurrencyCode, SignedAmount
from guilder.platform.http.route import Answer, Request, Route

_TAG: Final = "Ledger accounts"


class OpenAccount(Struct, forbid_unknown_fields=True, kw_only=True):
    """An account to be opened. Without a floor it may be overdrawn without limit."""

    code: Kind
    type: AccountType
    currency: CurrencyCode
    id: UUID | None = None
    owner_id: UserId | None = None
    floor: SignedAmount | None = None


class FreezeAccount(Struct, forbid_unknown_fields=True, kw_only=True):
    """Whether money may still come in."""

    debits_only: bool = False


class SetFloor(Struct, forbid_unknown_fields=True, kw_only=True):
    """The lowest balance the account may have, which may be negative; null: no limit."""

    floor: SignedAmount | None


class SetControl(Struct, forbid_unknown_fields=True, kw_only=True):
    """What may leave or enter an account or all of an owner's; a limit left out is none."""

    subject_id: UUID
    currency: CurrencyCode
    direction: Direction
    time_zone: Annotated[str, Meta(max_length=64)]
    per_transaction: Amount | None = None
    per_day: Amount | None = None
    per_month: Amount | None = None
    kinds: Annotated[list[Kind], Meta(min_length=1, max_length=32)] | None = None


class ControlBody(Struct, kw_only=True):
    """A control as it is now; a limit or a list of kinds that is null is none."""

    id: ControlId
    subject_id: UUID
    currency: str
    direction: Direction
    time_zone: str
    per_transaction: str | None
    per_day: str | None
    per_month: str | None
    kinds: list[str] | None


class AccountRoutes:
    """The handlers behind the routes."""

    def __init__(self, accounts: ManageAccounts, *, reading: ReadLedger) -> None:
        self._accounts = accounts
        self._reading = reading

    def routes(self) -> tuple[Route, ...]:
        """Every route that writes accounts and controls."""
        return (
            self._opening_route("/ledger/accounts"),
            self._opening_route("/ledger/accounts/create", listed=False),
            Route(
                method="POST",
                path="/ledger/accounts/{account_id}/freeze",
                handler=self.freeze,
                access="ledger:write",
                summary="Freeze an account",
                tag=_TAG,
                body=FreezeAccount,
                answers=AccountBody,
                raises=(AccountNotFound, AccountClosed, KeptByItsContext),
            ),
            self._status_route("unfreeze", AccountStatus.OPEN),
            self._status_route("close", AccountStatus.CLOSED),
            Route(
                method="PUT",
                path="/ledger/accounts/{account_id}/floor",
                handler=self.set_floor,
                access="ledger:write",
                summary="Set the lowest balance of an account",
                tag=_TAG,
                body=SetFloor,
                answers=AccountBody,
                raises=(
                    AccountNotFound,
                    AccountClosed,
                    InsufficientFunds,
                    BadAmount,
                    KeptByItsContext,
                ),
            ),
            Route(
                method="PUT",
                path="/ledger/controls/{control_id}",
                handler=self.set_control,
                access="ledger:write",
                summary="Limit what may leave or enter",
                tag=_TAG,
                body=SetControl,
                answers=ControlBody,
                raises=(UnknownCurrency, BadAmount, Conflict),
            ),
        )

    def _opening_route(self, path: str, *, listed: bool = True) -> Route:
        return Route(
            method="POST",
            path=path,
            handler=self.open,
            access="ledger:write",
            summary="Open an account",
            tag=_TAG,
            body=OpenAccount,
            answers=AccountBody,
            status=201,
            moves_money=True,
            key_means=KEY_OF_AN_ID,
            raises=(
                UnknownCurrency,
                BadAmount,
                AccountExists,
                IdempotencyKeyReused,
                KeptByItsContext,
            ),
            listed=listed,
        )

    def _status_route(self, verb: str, status: AccountStatus) -> Route:
        async def handler(request: Request) -> Answer:
            account_id = AccountId(request.id("account_id"))
            return Answer(data=account_body(await self._accounts.set_status(account_id, status)))

        handler.__doc__ = "Doing it again changes nothing. Closing is final and needs zero."
        return Route(
            method="POST",
            path=f"/ledger/accounts/{{account_id}}/{verb}",
            handler=handler,
            access="ledger:write",
            summary=f"{verb.capitalize()} an account",
            tag=_TAG,
            answers=AccountBody,
            raises=(AccountNotFound, AccountClosed, AccountNotEmpty, KeptByItsContext),
        )

    async def open(self, request: Request) -> Answer:
        """Opening the same account under the same id again changes nothing.

        It is answered as it stands now. The floor to compare is the one that it was opened with.
        """
        body: OpenAccount = request.body
        unit = currency(body.currency)
        account = NewAccount(
            id=AccountId(id_for(request, given=body.id, place="account")),
            owner_id=body.owner_id,
            code=body.code,
            type=body.type,
            currency=unit,
            floor_minor=None if body.floor is None else parse_floor(body.floor, unit),
        )
        try:
            opened = await self._accounts.open_account(account)
        except AccountExists as refusal:
            raise of_key(refusal, given=body.id) from None
        return Answer(
            data=account_body(opened.account), headers=REPLAYED if opened.is_replay else ()
        )

    async def freeze(self, request: Request) -> Answer:
        """A frozen account takes part in nothing; ``debits_only`` still lets money in."""
        only = AccountStatus.FROZEN_FOR_DEBITS if request.body.debits_only else AccountStatus.FROZEN
        account_id = AccountId(request.id("account_id"))
        return Answer(data=account_body(await self._accounts.set_status(account_id, only)))

    async def set_floor(self, request: Request) -> Answer:
        """The floor holds at once; what is available now must not be below it."""
        account_id = AccountId(request.id("account_id"))
        account = await self._reading.account(account_id)
        text = request.body.floor
        floor = None if text is None else parse_floor(text, account.currency)
        changed = await self._accounts.set_floor(account_id, floor_minor=floor)
        return Answer(data=account_body(changed))

    async def set_control(self, request: Request) -> Answer:
        """Days and months are those of the time zone. What is used already stays used."""
        body: SetControl = request.body
        unit = currency(body.currency)
        if body.time_zone not in _time_zones():
            raise ValidationFailed(fields={"time_zone": "is not an IANA time zone"})
        control = NewControl(
            id=ControlId(request.id("control_id")),
            subject_id=UserId(body.subject_id),
            currency=unit,
            direction=body.direction,
            time_zone=body.time_zone,
            limits=_limits(body, unit),
            kinds=None if body.kinds is None else frozenset(body.kinds),
        )
        await self._accounts.set_control(control)
        return Answer(data=_control_body(control))


@cache
def _time_zones() -> frozenset[str]:
    """Every zone that is the same wherever this runs: not the machine's own, by any name."""
    return frozenset(available_timezones() - {"localtime", "posixrules", "Factory"})


def _control_body(control: NewControl) -> ControlBody:
    def told(limit_minor: int | None) -> str | None:
        return None if limit_minor is None else format_minor(limit_minor, control.currency)

    return ControlBody(
        id=control.id,
        subject_id=control.subject_id,
        currency=control.currency.code,
        direction=control.direction,
        time_zone=control.time_zone,
        per_transaction=told(control.limits.per_transaction_minor),
        per_day=told(control.limits.per_day_minor),
        per_month=told(control.limits.per_month_minor),
        kinds=None if control.kinds is None else sorted(control.kinds),
    )


def _limits(body: SetControl, unit: Currency) -> ControlLimits:
    def limit(name: str, amount: Amount | None) -> int | None:
        return None if amount is None else parse_amount(amount, unit, field=name)

    return ControlLimits(
        per_transaction_minor=limit("per_transaction", body.per_transaction),
        per_day_minor=limit("per_day", body.per_day),
        per_month_minor=limit("per_month", body.per_month),
    )
