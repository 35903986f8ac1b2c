"""Acts of a bank and its customers, each held against the paper, on a database with a clock that
can be put forward.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Final, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from guilder.kernel.currencies import INR, Currency
from guilder.kernel.errors import Overloaded, Refusal
from guilder.kernel.ids import AccountId, TransactionId, UserId, WalletId
from guilder.ledger.api import (
    ControlLimits,
    EntryDraft,
    PlatformAccount,
    ReversalDraft,
    TransactionDraft,
    platform_account_id,
)
from guilder.ledger.service.end_holds import EndHolds
from guilder.ledger.service.post_transactions import PostTransactions
from guilder.ledger.service.posting import PostgresLedger
from guilder.ledger.service.reverse_transaction import ReverseTransaction
from guilder.payments.api import Outcome, PaymentOrder
from guilder.platform.db import Database
from guilder.platform.identifiers import new_id
from guilder.wallets.api import Act
from tests.support import waiting
from tests.support.bank import Bank, person
from tests.support.clock import put_forward
from tests.support.paper import (
    DAY_MINOR,
    MONTH_MINOR,
    SINGLE_MINOR,
    Broken,
    Line,
    Paper,
    Purse,
    Reasons,
)
from tests.support.tampering import Connection

Answer = TypeVar("Answer")

_LIMITS: Final = ControlLimits(
    per_transaction_minor=SINGLE_MINOR, per_day_minor=DAY_MINOR, per_month_minor=MONTH_MINOR
)
_ZONE: Final = ZoneInfo("Asia/Kolkata")
# Reading and locking rows goes on.
_LET_NOBODY_WRITE: Final = """
    LOCK TABLE ledger.transactions, payments.transactions, payments.idempotency IN SHARE MODE
"""
_WAITING: Final = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
_STANDING: Final = """
    SELECT id, posted_credits - posted_debits, pending_debits, pending_credits
    FROM ledger.accounts WHERE owner_id IS NOT NULL
"""


class Unanswered(Exception):
    """Something was neither done nor refused: the run says nothing about the code."""


async def answered(asked: Awaitable[Answer]) -> tuple[Answer | None, str | None]:
    """An answer, or the code of a refusal. Whatever else is raised breaks a promise."""
    try:
        return await asked, None
    except Overloaded as error:
        raise Unanswered("a database that does not answer") from error
    except Refusal as refusal:
        return None, refusal.code
    except Exception as error:
        raise Broken(f"it ended with {type(error).__name__}: {error}") from error


class House(Bank):
    """The money core on one pool, with what only staff may do."""

    def __init__(self, db: Database) -> None:
        super().__init__(db, limits=_LIMITS, lanes=1)
        ledger = PostgresLedger()
        self.posting = PostTransactions(db, ledger=ledger)
        self.holds = EndHolds(db, ledger=ledger)
        self.reversing = ReverseTransaction(db, ledger=ledger)


class Days:
    """Two processes' pools, the people who use them, and what is true of them on paper."""

    def __init__(
        self, houses: Sequence[House], *, rng: Random, superuser: Connection, now: datetime
    ) -> None:
        self.houses = houses
        self.rng = rng
        self.paper = Paper(now=now.astimezone(_ZONE))
        self._superuser = superuser

    @property
    def house(self) -> House:
        """One of them; nobody can tell which."""
        return self.rng.choice(self.houses)

    async def wallet(
        self, owner_id: UserId, *, funds_minor: int = 0, currency: Currency = INR
    ) -> WalletId:
        """A new wallet with money that came by no allowance."""
        id_ = await self.house.open(owner_id, currency=currency)
        self.paper.purses[id_] = Purse(owner_id=owner_id, currency=currency)
        if funds_minor:
            await self.post([(None, -funds_minor), (id_, funds_minor)], kind="grant")
        return id_

    async def rich(self, *, funds_minor: int = 4 * DAY_MINOR) -> tuple[UserId, WalletId]:
        """Somebody new with a wallet and money in it."""
        owner_id = person()
        return owner_id, await self.wallet(owner_id, funds_minor=funds_minor)

    async def pay(self, *orders: PaymentOrder, by: House | None = None) -> None:
        """Orders of one batch, each seeing what those before it did."""
        house = by or self.house
        outcomes = await asyncio.gather(*(answered(house.engine.pay(order)) for order in orders))
        for order, (outcome, _) in zip(orders, outcomes, strict=True):
            assert outcome is not None
            self.paper.pay(order, outcome)

    async def race(self, what: str, *shares: Sequence[PaymentOrder]) -> None:
        """Orders sent at once, a share by each house: some order of them explains the answers.

        They only take from what they compete for, so those done come first, as they were recorded.
        """
        each = zip(self.houses, shares, strict=True)
        sent = [(house, order) for house, share in each for order in share]
        told = await self._meeting(*(answered(house.engine.pay(order)) for house, order in sent))
        pairs = [
            (order, outcome)
            for (_, order), (outcome, _) in zip(sent, told, strict=True)
            if outcome is not None
        ]
        for order, outcome in sorted(pairs, key=_done_first):
            self.paper.pay(order, outcome)
        self.paper.seen.add(what)

    async def _meeting(self, *asked: Awaitable[Answer]) -> list[Answer]:
        """What is asked of all houses at once; none writes before each has come as far as it can.

        So whoever judges before it has locked has judged by then, whatever else the machine does.
        """
        async with self._superuser.transaction():
            await self._superuser.execute(_LET_NOBODY_WRITE)
            told = asyncio.gather(*asked)
            await waiting.until(self._all_wait, "every house waits")
        return await told

    async def _all_wait(self) -> bool:
        count: int = await self._superuser.fetchval(_WAITING)
        return count >= len(self.houses)

    def draft(
        self, lines: Sequence[Line], *, kind: str, until: datetime | None = None
    ) -> TransactionDraft:
        """What staff would post: a credit gives to a wallet, a debit takes from it."""
        outside = platform_account_id(PlatformAccount.SETTLEMENT_SIMULATED, INR)
        entries = tuple(
            EntryDraft(outside if wallet is None else AccountId(wallet), -amount)
            for wallet, amount in lines
        )
        return TransactionDraft(
            id=TransactionId(new_id()), kind=kind, entries=entries, expires_at=until
        )

    async def post(self, *groups: Sequence[Line], kind: str = "sweep") -> None:
        """Transactions in one call, one after the other."""
        await self.post_linked(*([lines] for lines in groups), kind=kind)

    async def post_linked(self, *groups: Sequence[Sequence[Line]], kind: str = "sweep") -> None:
        """Groups in one call, each of them whole or not at all."""
        drafts = [[self.draft(lines, kind=kind) for lines in group] for group in groups]
        told, code = await answered(self.house.posting.post_groups(drafts))
        self.paper.require("staff's postings are answered", is_kept=code is None)
        for group, made, outcomes in zip(groups, drafts, told or (), strict=True):
            codes = [one.code if isinstance(one, Refusal) else None for one in outcomes]
            trial = self.paper.copied()
            reasons: Reasons = set()
            for lines, draft in zip(group, made, strict=True):
                reasons = trial.reasons(kind, lines)
                if reasons:
                    break
                trial.move(draft.id, kind, lines)
            at_fault = [c for c in codes if c not in {None, "LINKED_REFUSED"}]
            what = f"{len(group)} linked" if len(group) > 1 else kind
            if self.paper.judge(what, next(iter(at_fault), None), reasons):
                self.paper.require("all of a group is posted", is_kept=not any(codes))
                self.paper = trial
            else:
                self.paper.require("nothing of a refused group is posted", is_kept=all(codes))

    async def hold(self, source: WalletId, to: WalletId, amount: int, *, hours: int = 2) -> UUID:
        """Reserve money for some hours."""
        lines: list[Line] = [(source, -amount), (to, amount)]
        draft = self.draft(lines, kind="booking", until=await self._time_in(hours))
        _, code = await answered(self.house.posting.post([draft]))
        self._held(draft, lines, hours=hours, code=code)
        return draft.id

    async def race_to_hold(self, what: str, source: WalletId, to: WalletId, amount: int) -> None:
        """Every house reserves the same money at once; one has it."""
        lines: list[Line] = [(source, -amount), (to, amount)]
        until = await self._time_in(2)
        drafts = [self.draft(lines, kind="booking", until=until) for _ in self.houses]
        each = zip(self.houses, drafts, strict=True)
        asked = (answered(house.posting.post([draft])) for house, draft in each)
        told = await self._meeting(*asked)
        codes = [code for _, code in told]
        for draft, code in sorted(zip(drafts, codes, strict=True), key=lambda one: bool(one[1])):
            self._held(draft, lines, hours=2, code=code)
        self.paper.seen.add(what)

    async def _time_in(self, hours: int) -> datetime:
        now: datetime = await self.house.db.fetchval("SELECT clock_timestamp()")
        return now + timedelta(hours=hours)

    def _held(
        self, draft: TransactionDraft, lines: Sequence[Line], *, hours: int, code: str | None
    ) -> None:
        if self.paper.judge("hold", code, self.paper.reasons("booking", lines)):
            until = self.paper.now + timedelta(hours=hours)
            self.paper.move(draft.id, "booking", lines, until=until)

    async def settle(self, hold_id: UUID, amount: int) -> None:
        """Post a hold in full or in part."""
        asked = self.house.holds.settle(TransactionId(hold_id), amount_minor=amount)
        _, code = await answered(asked)
        is_open = self.paper.moved[hold_id].state == "pending"
        is_part = amount < self.paper.moved[hold_id].amount
        what = "settle in part" if is_part else "settle"
        if self.paper.judge(what, code, self.paper.settling(hold_id, amount)) and is_open:
            self.paper.end(hold_id, "posted", amount=amount)

    async def void(self, hold_id: UUID) -> None:
        """Give up a hold."""
        _, code = await answered(self.house.holds.void(TransactionId(hold_id)))
        ended = {"posted": {"HOLD_ENDED"}, "expired": {"HOLD_EXPIRED"}}
        state = self.paper.moved[hold_id].state
        if self.paper.judge("void", code, ended.get(state, set())) and state == "pending":
            self.paper.end(hold_id, "voided")

    async def expire(self) -> None:
        """Let go what is due, and nothing else."""
        count, _ = await answered(self.house.holds.expire_due())
        due = self.paper.due()
        self.paper.seen.add(f"expire {'some' if due else 'none'}")
        self.paper.require(f"{len(due)} holds are due", is_kept=count == len(due))
        for hold_id in due:
            self.paper.end(hold_id, "expired")

    async def reverse(self, id_: UUID, amount: int) -> None:
        """Undo a part of what moved."""
        draft = ReversalDraft(
            id=TransactionId(new_id()), original_id=TransactionId(id_), amount_minor=amount
        )
        _, code = await answered(self.house.reversing.reverse(draft))
        if self.paper.judge("reverse", code, self.paper.undoing(id_, amount)):
            self.paper.undo(id_, amount)

    async def change(self, wallet_id: WalletId, act: Act) -> None:
        """Freeze, unfreeze or close an active or frozen wallet."""
        purse = self.paper.purses[wallet_id]
        asked = self.house.wallets.change(purse.owner_id, wallet_id=wallet_id, act=act)
        _, code = await answered(asked)
        has_money = act is Act.CLOSE and (purse.balance or purse.leaving or purse.coming)
        if self.paper.judge(act.value, code, {"ACCOUNT_NOT_EMPTY"} if has_money else set()):
            status = {Act.FREEZE: "frozen", Act.UNFREEZE: "active", Act.CLOSE: "closed"}[act]
            purse.status = status

    async def wait(self, hours: int) -> None:
        """Put the clock forward."""
        await put_forward(self._superuser, timedelta(hours=hours))
        self.paper.now += timedelta(hours=hours)

    async def compare(self) -> None:
        """Every wallet is as it is on paper."""
        for id_, *standing in await self._superuser.fetch(_STANDING):
            purse = self.paper.purses[WalletId(id_)]
            wanted = [purse.balance, purse.leaving, purse.coming]
            self.paper.require(
                f"balance, held and coming are {wanted}, not {standing}",
                is_kept=standing == wanted,
            )


def _done_first(pair: tuple[PaymentOrder, Outcome]) -> tuple[bool, bool, datetime]:
    payment = pair[1].payment
    moment = datetime.max.replace(tzinfo=_ZONE) if payment is None else payment.created_at
    return pair[1].refusal is not None, payment is None, moment
