"""Routes that read: accounts, transactions, entries, chains, statements, the trial balance."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from msgspec import Meta, Struct

from guilder.kernel.currencies import CURRENCIES
from guilder.kernel.errors import NotPermitted, Overloaded, Refusal
from guilder.kernel.ids import AccountId, TransactionId, UserId
from guilder.kernel.money import format_minor
from guilder.ledger.api import AccountNotFound, AccountStatus, AccountType, TransactionNotFound
from guilder.ledger.domain.listings import AccountFilter, TrialLine
from guilder.ledger.http.bodies import (
    AccountBody,
    StoredEntry,
    StoredTransaction,
    account_body,
    entry_body,
    transaction_body,
)
from guilder.ledger.service.read_ledger import ReadLedger
from guilder.platform.auth import Caller
from guilder.platform.http.fields import CurrencyCode, Moment
from guilder.platform.http.pages import Page, Position, decode_cursor, encode_cursor, page_meta
from guilder.platform.http.route import Answer, Handler, Request, Route

_TAG: Final = "Ledger"
_BEFORE_ALL: Final = AccountId(UUID(int=0))


class AccountList(Page, kw_only=True, frozen=True):
    """Which accounts to list."""

    owner_id: UUID | None = None
    currency: CurrencyCode | None = None
    type: AccountType | None = None
    code: Annotated[str, Meta(max_length=64)] | None = None
    status: AccountStatus | None = None


class EntryList(Page, kw_only=True, frozen=True):
    """A page of entries: behind a cursor, or ``offset`` entries behind the newest."""

    offset: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0


class StatementQuery(Page, kw_only=True, frozen=True):
    """Which time: recorded after ``start_date``, up to and including ``end_date``."""

    start_date: Moment | None = None
    end_date: Moment | None = None


class AtQuery(Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """When: now, or the time after which nothing recorded counts any more."""

    at: Moment | None = None


class BalancedBody(Struct, kw_only=True):
    """Whether a transaction sums to zero in each currency."""

    balanced: bool


class ChainBody(Struct, kw_only=True, omit_defaults=True):
    """Whether a chain holds; if not, the first entry at which it breaks: account and sequence."""

    valid: bool
    tampered_at: str | None = None


class StatementBody(Struct, kw_only=True):
    """An account over a time. Opening balance and the entries add up to the closing balance."""

    account_id: AccountId
    currency: str
    opening_balance: str
    closing_balance: str
    entries: list[StoredEntry]


class AccountBalance(Struct, kw_only=True):
    """A balance on the account's normal side."""

    account_id: AccountId
    currency: str
    balance: str
    as_of: datetime | None


class TrialRow(Struct, kw_only=True):
    """All accounts of one code in one currency."""

    currency: str
    type: str
    code: str
    accounts: int
    debits: str
    credits: str


class TrialTotal(Struct, kw_only=True):
    """A currency's sums: debits and credits are equal at all times."""

    currency: str
    debits: str
    credits: str
    balanced: bool


class TrialBody(Struct, kw_only=True):
    """The trial balance."""

    as_of: datetime | None
    totals: list[TrialTotal]
    rows: list[TrialRow]


class ReadingRoutes:
    """The handlers behind the routes."""

    def __init__(self, reading: ReadLedger) -> None:
        self._reading = reading

    def routes(self) -> tuple[Route, ...]:
        """Every route that reads the ledger."""
        return (
            _route(
                "/ledger/accounts",
                self.accounts,
                "List accounts",
                query=AccountList,
                answers=AccountBody,
                is_list=True,
            ),
            _route(
                "/ledger/accounts/{account_id}",
                self.account,
                "Look at an account",
                answers=AccountBody,
                raises=(AccountNotFound,),
            ),
            _route(
                "/ledger/accounts/{account_id}/balance",
                self.balance,
                "The balance of an account, now or at a time",
                query=AtQuery,
                answers=AccountBalance,
                raises=(AccountNotFound,),
            ),
            _route(
                "/ledger/transactions/{transaction_id}",
                self.transaction,
                "Look at a transaction",
                answers=StoredTransaction,
                raises=(TransactionNotFound,),
            ),
            _route(
                "/ledger/transactions/{transaction_id}/verify",
                self.verify,
                "Whether a transaction is balanced",
                answers=BalancedBody,
                raises=(TransactionNotFound,),
            ),
            _route(
                "/ledger/trial-balance",
                self.trial_balance,
                "The trial balance, now or at a time",
                query=AtQuery,
                answers=TrialBody,
            ),
            *self._owners_routes(),
        )

    def _owners_routes(self) -> tuple[Route, ...]:
        return tuple(
            route
            for thing in ("wallets", "accounts")
            for route in (
                _route(
                    f"/ledger/{thing}/{{account_id}}/entries",
                    self.entries,
                    "Entries, newest first",
                    access=("ledger:read", "ledger:own"),
                    query=EntryList,
                    answers=StoredEntry,
                    is_list=True,
                    raises=(AccountNotFound, NotPermitted),
                    listed=thing == "wallets",
                ),
                _route(
                    f"/ledger/{thing}/{{account_id}}/chain",
                    self.chain,
                    "Whether the chain of entries holds",
                    access=("ledger:read", "ledger:own"),
                    answers=ChainBody,
                    raises=(AccountNotFound, NotPermitted, Overloaded),
                    listed=thing == "wallets",
                ),
                _route(
                    f"/ledger/{thing}/{{account_id}}/statement",
                    self.statement,
                    "Opening balance, entries, closing balance",
                    access=("ledger:read", "ledger:own"),
                    query=StatementQuery,
                    answers=StatementBody,
                    raises=(AccountNotFound, NotPermitted),
                    listed=thing == "accounts",
                ),
            )
        )

    async def accounts(self, request: Request) -> Answer:
        """In order of their ids."""
        query: AccountList = request.query
        wanted = AccountFilter(
            owner_id=None if query.owner_id is None else UserId(query.owner_id),
            currency=query.currency,
            type=query.type,
            code=query.code,
            status=query.status,
        )
        filters = {"list": "ledger accounts", "wanted": wanted}
        after = _BEFORE_ALL
        if query.cursor is not None:
            after = AccountId(decode_cursor(query.cursor, UUID, filters=filters))
        found = await self._reading.accounts(wanted, after=after, limit=query.limit + 1)
        page = found[: query.limit]
        cursor = encode_cursor(page[-1].id, filters=filters) if len(found) > len(page) else None
        return Answer(data=[account_body(account) for account in page], meta=page_meta(cursor))

    async def account(self, request: Request) -> Answer:
        """Its sums as they stand."""
        account = await self._reading.account(AccountId(request.id("account_id")))
        return Answer(data=account_body(account))

    async def balance(self, request: Request) -> Answer:
        """By the time of record, which never changes afterwards."""
        at = request.query.at
        account_id = AccountId(request.id("account_id"))
        if at is None:
            account = await self._reading.account(account_id)
            minor = account.balance_minor
        else:
            account, minor = await self._reading.balance_at(account_id, at=at)
        return Answer(
            data=AccountBalance(
                account_id=account_id,
                currency=account.currency.code,
                balance=format_minor(minor, account.currency),
                as_of=at,
            )
        )

    async def transaction(self, request: Request) -> Answer:
        """With its entries as they were written."""
        view = await self._reading.transaction(TransactionId(request.id("transaction_id")))
        return Answer(data=transaction_body(view))

    async def verify(self, request: Request) -> Answer:
        """Summed anew from its stored entries."""
        balanced = await self._reading.is_balanced(TransactionId(request.id("transaction_id")))
        return Answer(data=BalancedBody(balanced=balanced))

    async def entries(self, request: Request) -> Answer:
        """Never recalculated: read as they were written. Owners see their own accounts."""
        query: EntryList = request.query
        account_id = AccountId(request.id("account_id"))
        filters = {"list": "ledger entries", "account": account_id}
        before = None
        if query.cursor is not None:
            before = decode_cursor(query.cursor, Position, filters=filters)
        found = await self._reading.entries(
            account_id,
            seen_by=_sight(request.user),
            before_sequence=before,
            offset=query.offset,
            limit=query.limit + 1,
        )
        page = found[: query.limit]
        more = len(found) > len(page)
        cursor = encode_cursor(page[-1].sequence, filters=filters) if more else None
        return Answer(data=[entry_body(entry) for entry in page], meta=page_meta(cursor))

    async def chain(self, request: Request) -> Answer:
        """Every hash is computed anew, over the entry, its transaction and the entry before."""
        account_id = AccountId(request.id("account_id"))
        sequence = await self._reading.first_tampered(account_id, seen_by=_sight(request.user))
        if sequence is None:
            return Answer(data=ChainBody(valid=True))
        return Answer(data=ChainBody(valid=False, tampered_at=f"{account_id}:{sequence}"))

    async def statement(self, request: Request) -> Answer:
        """Oldest first, by the time of record. Owners see their own accounts."""
        query: StatementQuery = request.query
        account_id = AccountId(request.id("account_id"))
        filters = {
            "list": "statement",
            "account": account_id,
            "start": query.start_date,
            "until": query.end_date,
        }
        after = None
        if query.cursor is not None:
            after = decode_cursor(query.cursor, Position, filters=filters)
        found = await self._reading.statement(
            account_id,
            seen_by=_sight(request.user),
            start=query.start_date,
            end=query.end_date,
            after_sequence=after,
            limit=query.limit,
        )
        cursor = None
        if found.has_more:
            cursor = encode_cursor(found.entries[-1].sequence, filters=filters)
        unit = found.account.currency
        body = StatementBody(
            account_id=account_id,
            currency=unit.code,
            opening_balance=format_minor(found.opening_minor, unit),
            closing_balance=format_minor(found.closing_minor, unit),
            entries=[entry_body(entry) for entry in found.entries],
        )
        return Answer(data=body, meta=page_meta(cursor))

    async def trial_balance(self, request: Request) -> Answer:
        """Debits equal credits in every currency, at every time."""
        at = request.query.at
        lines = await self._reading.trial_balance(at=at)
        codes = sorted({line.currency for line in lines})
        totals = [_total(code, [line for line in lines if line.currency == code]) for code in codes]
        return Answer(data=TrialBody(as_of=at, totals=totals, rows=[_row(line) for line in lines]))


def _sight(caller: Caller) -> UserId | None:
    """Whose accounts the caller may look at: None for anybody's.

    Raises:
        NotPermitted: nobody's.
    """
    if caller.may("ledger:read"):
        return None
    if caller.may("ledger:own"):
        return caller.user_id
    raise NotPermitted


def _total(code: str, lines: list[TrialLine]) -> TrialTotal:
    debits = sum(line.debits_minor for line in lines)
    credits_ = sum(line.credits_minor for line in lines)
    unit = CURRENCIES[code]
    return TrialTotal(
        currency=code,
        debits=format_minor(debits, unit),
        credits=format_minor(credits_, unit),
        balanced=debits == credits_,
    )


def _row(line: TrialLine) -> TrialRow:
    unit = CURRENCIES[line.currency]
    return TrialRow(
        currency=line.currency,
        type=line.type,
        code=line.code,
        accounts=line.accounts,
        debits=format_minor(line.debits_minor, unit),
        credits=format_minor(line.credits_minor, unit),
    )


def _route(
    path: str,
    handler: Handler,
    summary: str,
    *,
    access: str | tuple[str, ...] = "ledger:read",
    query: type[Struct] | None = None,
    answers: type[Struct],
    is_list: bool = False,
    raises: tuple[type[Refusal], ...] = (),
    listed: bool = True,
) -> Route:
    return Route(
        method="GET",
        path=path,
        handler=handler,
        access=access,
        summary=summary,
        tag=_TAG,
        query=query,
        answers=answers,
        is_list=is_list,
        raises=raises,
        listed=listed,
    )
