"""The payment engine: orders queue, and every batch is one transaction (group commit).

In a batch: lock the accounts in id order, look up keys and wallets under those locks, decide, write
what was decided in one statement, commit, answer. Whatever fails leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress
from typing import Final
from uuid import UUID

from guilder.identity.api.verifications import Operation, Spending, VerificationTokens
from guilder.kernel.currencies import Currency
from guilder.kernel.errors import Overloaded, Refusal
from guilder.kernel.ids import AccountId, TransactionId
from guilder.kernel.money import format_minor
from guilder.ledger.api import Book, Ledger
from guilder.payments.api import Outcome, Payment, PaymentOrder
from guilder.payments.domain import (
    Claim,
    Decision,
    Numbered,
    State,
    decide,
    ends,
    is_high,
    movements,
    verified_parameters,
)
from guilder.payments.events import TransactionCompleted, TransactionFailed
from guilder.payments.store import records
from guilder.platform import failpoints, outbox
from guilder.platform.batching import Batcher
from guilder.platform.db import Database, RowsBusy, Tx
from guilder.platform.db_writes import write_together
from guilder.platform.identifiers import new_id
from guilder.wallets.api import Wallets

LOCKED: Final = failpoints.declare("batch.locked", "accounts are locked, nothing is decided")
CLAIMED: Final = failpoints.declare("batch.claimed", "payments and their keys are written")
BEFORE_COMMIT: Final = failpoints.declare("batch.before_commit", "all is written, not committed")
AFTER_COMMIT: Final = failpoints.declare("batch.after_commit", "committed, nobody is answered yet")


@dataclass(frozen=True, slots=True, kw_only=True)
class HighValue:
    """Transfers above ``most_minor`` of their currency need a token, spent with ``tokens``."""

    most_minor: Mapping[str, int]
    tokens: VerificationTokens


class PaymentEngine:
    """Implements `guilder.payments.api.Payments`. ``funding``: the account of outside money.

    Without ``high_value`` no transfer has to be verified.
    """

    def __init__(
        self,
        db: Database,
        *,
        ledger: Ledger,
        wallets: Wallets,
        funding: Callable[[Currency], AccountId | None],
        high_value: HighValue | None = None,
        max_batch: int = 128,
        max_waiting: int = 4096,
        lanes: int = 2,
    ) -> None:
        self._db = db
        self._ledger = ledger
        self._wallets = wallets
        self._funding = funding
        self._high_value = high_value
        self._most_minor = {} if high_value is None else high_value.most_minor
        self._queue: Batcher[PaymentOrder, Outcome] = Batcher(
            self._execute,
            touches=self._touched,
            max_batch=max_batch,
            max_waiting=max_waiting,
            lanes=lanes,
        )

    async def pay(self, order: PaymentOrder) -> Outcome:
        """Execute an order; the answer comes after its commit.

        Raises:
            Overloaded: too much is waiting, or the database does not answer in time.
        """
        return await self._queue.submit(order)

    async def close(self) -> None:
        """Wait until every accepted order has been answered."""
        await self._queue.close()

    def _touched(self, order: PaymentOrder) -> tuple[UUID | None, ...]:
        # The caller stands for the controls on what leaves, or is funded into, their wallets.
        return (order.caller_id, *ends(order, funding=self._funding))

    async def _execute(self, orders: Sequence[PaymentOrder]) -> list[Outcome]:
        numbered = [Numbered(TransactionId(new_id()), order) for order in orders]
        try:
            outcomes = await self._db.run(lambda tx: self._run_batch(tx, numbered))
        except RowsBusy:
            if len(numbered) == 1:
                raise
            outcomes = await self._without_busy(numbered)
        await failpoints.reach(AFTER_COMMIT)
        return outcomes

    async def _without_busy(self, batch: Sequence[Numbered]) -> list[Outcome]:
        """Execute what needs nothing that somebody keeps locked, and refuse the rest.

        Raises:
            Overloaded: that does not help either.
        """
        wanted = [movements(numbered.order, funding=self._funding) for numbered in batch]
        announced = {movement for moved in wanted for movement in moved}
        busy = await self._db.run(partial(self._ledger.busy, movements=announced))
        is_free = [busy.isdisjoint(moved) for moved in wanted]
        free = list(compress(batch, is_free))
        done = iter(await self._db.run(lambda tx: self._run_batch(tx, free)) if free else ())
        return [next(done) if goes else Outcome(refusal=Overloaded()) for goes in is_free]

    async def _run_batch(self, tx: Tx, batch: Sequence[Numbered]) -> list[Outcome]:
        orders = [numbered.order for numbered in batch]
        announced = {m for order in orders for m in movements(order, funding=self._funding)}
        accounts = {movement.account_id for movement in announced}
        book = await self._ledger.open_book(tx, accounts, movements=announced)
        await failpoints.reach(LOCKED)
        named = [account for a in accounts if (account := book.account(a)) is not None]
        claims = await records.find_claims(tx, [(order.caller_id, order.key) for order in orders])
        state = State(
            book=book,
            wallets=await self._wallets.of_accounts(tx, named),
            claims=claims.payments,
            funding=self._funding,
            high_value=self._most_minor,
            verdicts=await self._verdicts(tx, batch, claims.payments),
        )
        decision = decide(batch, state=state)
        if decision.made:
            await self._write(tx, book, decision.made, over=claims.over)
            await failpoints.reach(CLAIMED)
        await self._give_back(tx, state, decision)
        if decision.made:
            await failpoints.reach(BEFORE_COMMIT)
        return decision.outcomes

    async def _write(
        self, tx: Tx, book: Book, made: Sequence[Payment], *, over: frozenset[Claim]
    ) -> None:
        await records.free_keys(tx, over=over, payments=made)
        payments = records.write_of(made, now=book.now)
        events = outbox.write_of([_event(payment) for payment in made])
        await write_together(tx, [*self._ledger.writes_of(book), events, payments])

    async def _verdicts(
        self, tx: Tx, batch: Sequence[Numbered], claims: Mapping[Claim, Payment]
    ) -> Mapping[UUID, Refusal | None]:
        """Spend the tokens of the orders that need one: one statement, and none without any."""
        spendings = [
            Spending(
                token=order.verification,
                account_id=order.caller_id,
                operation=Operation.HIGH_VALUE_TRANSFER,
                parameters=verified_parameters(order),
                used_by=numbered.id,
            )
            for numbered in batch
            if (order := numbered.order).verification is not None
            and is_high(order, high_value=self._most_minor)
            and (order.caller_id, order.key) not in claims
        ]
        if not spendings or self._high_value is None:
            return {}
        return await self._high_value.tokens.spend(tx, spendings)

    async def _give_back(self, tx: Tx, state: State, decision: Decision) -> None:
        """A token that moved no money can still be spent on the same transfer."""
        done = {payment.id for payment in decision.made if payment.failure is None}
        unused = [id_ for id_, refusal in state.verdicts.items() if not refusal and id_ not in done]
        if unused and self._high_value is not None:
            await self._high_value.tokens.give_back(tx, unused)


def _event(payment: Payment) -> outbox.Outgoing:
    order = payment.order
    amount = format_minor(order.amount_minor, order.currency)
    fact: TransactionCompleted | TransactionFailed
    if payment.failure is None:
        fact = TransactionCompleted(
            transaction_id=payment.id,
            transaction_type=order.type.value,
            initiated_by=order.caller_id,
            from_wallet_id=order.from_wallet_id,
            to_wallet_id=order.to_wallet_id,
            amount=amount,
            currency=order.currency.code,
            completed_at=payment.created_at,
            effective_at=order.effective_at,
        )
    else:
        fact = TransactionFailed(
            transaction_id=payment.id,
            transaction_type=order.type.value,
            initiated_by=order.caller_id,
            from_wallet_id=order.from_wallet_id,
            to_wallet_id=order.to_wallet_id,
            amount=amount,
            currency=order.currency.code,
            reason=payment.failure.code,
            failed_at=payment.created_at,
            effective_at=order.effective_at,
        )
    key = str(order.from_wallet_id or order.to_wallet_id)
    return outbox.outgoing(fact, key=key, origin=order.origin)
