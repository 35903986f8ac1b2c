"""Routes that post transactions, end holds and reverse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final
from uuid import UUID

from msgspec import Meta, Struct

from guilder.kernel.errors import IdempotencyKeyReused, Refusal
from guilder.kernel.ids import TransactionId
from guilder.kernel.money import BadAmount, parse_amount
from guilder.ledger.api import (
    AccountClosed,
    AccountFrozen,
    AccountNotFound,
    AmountExceedsOriginal,
    BalanceTooLarge,
    HoldEnded,
    HoldExpired,
    HoldNotFound,
    InsufficientFunds,
    KeptByItsContext,
    LimitExceeded,
    LinkedRefused,
    NotReversible,
    ReversalDraft,
    TransactionExists,
    TransactionNotFound,
    Unbalanced,
)
from guilder.ledger.domain.transactions import named
from guilder.ledger.http.bodies import (
    KEY_OF_A_HOLD,
    KEY_OF_AN_ID,
    REPLAYED,
    StoredTransaction,
    TransactionBody,
    accounts_named,
    draft_of,
    id_for,
    metadata_text,
    of_key,
    transaction_body,
)
from guilder.ledger.service.end_holds import Ended, EndHolds
from guilder.ledger.service.post_transactions import PostTransactions
from guilder.ledger.service.read_ledger import ReadLedger
from guilder.ledger.service.reverse_transaction import ReverseTransaction
from guilder.platform.http.fields import Amount, Description
from guilder.platform.http.route import Answer, Request, Route

_TAG: Final = "Ledger"
_POSTING: Final[tuple[type[Refusal], ...]] = (
    BadAmount,
    Unbalanced,
    AccountNotFound,
    TransactionExists,
    IdempotencyKeyReused,
    LinkedRefused,
    AccountClosed,
    AccountFrozen,
    LimitExceeded,
    InsufficientFunds,
    BalanceTooLarge,
    HoldExpired,
    KeptByItsContext,
)


class PostTransaction(TransactionBody, kw_only=True):
    """A transaction, and others that are posted with it: all of them or none."""

    linked: Annotated[list[TransactionBody], Meta(max_length=100)] | None = None


class PostHold(Struct, forbid_unknown_fields=True, kw_only=True):
    """How much of a hold to post; without an amount, all of it."""

    amount: Amount | None = None


class Reverse(Struct, forbid_unknown_fields=True, kw_only=True):
    """How much of a transaction to undo; without an amount, all that is left of it."""

    id: UUID | None = None
    amount: Amount | None = None
    description: Description | None = None
    metadata: dict[str, Any] | None = None


class TransactionRoutes:
    """The handlers behind the routes."""

    def __init__(
        self,
        *,
        posting: PostTransactions,
        holds: EndHolds,
        reversing: ReverseTransaction,
        reading: ReadLedger,
    ) -> None:
        self._posting = posting
        self._holds = holds
        self._reversing = reversing
        self._reading = reading

    def routes(self) -> tuple[Route, ...]:
        """Every route that writes single transactions."""
        return (
            self._posting_route("/ledger/transactions"),
            self._posting_route("/ledger/entries/create", listed=False),
            Route(
                method="POST",
                path="/ledger/transactions/{transaction_id}/post",
                handler=self.post_hold,
                access="ledger:write",
                summary="Post a pending transaction",
                tag=_TAG,
                body=PostHold,
                answers=StoredTransaction,
                moves_money=True,
                key_means=KEY_OF_A_HOLD,
                raises=(HoldNotFound, HoldEnded, HoldExpired, AmountExceedsOriginal, AccountFrozen),
            ),
            Route(
                method="POST",
                path="/ledger/transactions/{transaction_id}/void",
                handler=self.void_hold,
                access="ledger:write",
                summary="Void a pending transaction",
                tag=_TAG,
                answers=StoredTransaction,
                moves_money=True,
                key_means=KEY_OF_A_HOLD,
                raises=(HoldNotFound, HoldEnded, HoldExpired),
            ),
            Route(
                method="POST",
                path="/ledger/transactions/{transaction_id}/reverse",
                handler=self.reverse,
                access="ledger:write",
                summary="Reverse a transaction",
                tag=_TAG,
                body=Reverse,
                answers=StoredTransaction,
                status=201,
                moves_money=True,
                key_means=KEY_OF_AN_ID,
                raises=(
                    TransactionNotFound,
                    TransactionExists,
                    IdempotencyKeyReused,
                    NotReversible,
                    AmountExceedsOriginal,
                    InsufficientFunds,
                    AccountFrozen,
                    AccountClosed,
                    BalanceTooLarge,
                ),
            ),
        )

    def _posting_route(self, path: str, *, listed: bool = True) -> Route:
        return Route(
            method="POST",
            path=path,
            handler=self.post,
            access="ledger:write",
            summary="Post a transaction, or hold it",
            tag=_TAG,
            body=PostTransaction,
            answers=StoredTransaction,
            status=201,
            moves_money=True,
            key_means=KEY_OF_AN_ID,
            raises=_POSTING,
            max_body_bytes=4 * 1024 * 1024,
            listed=listed,
        )

    async def post(self, request: Request) -> Answer:
        """Two or more entries that sum to zero in each currency.

        The transaction's ``id`` is what makes repeating it safe: the same contents under the same
        id are posted once, other contents are refused. Without an id, the Idempotency-Key names
        it. ``pending`` reserves the money until ``expires_at``, to be posted or voided later.
        ``linked`` transactions are posted together with this one: all of them or none.
        """
        first: PostTransaction = request.body
        bodies = [first, *(first.linked or ())]
        currencies = await self._reading.currencies(accounts_named(bodies))
        drafts = [
            draft_of(
                body,
                id_=id_for(request, given=body.id, place=_place(index)),
                currencies=currencies,
                field=f"linked[{index - 1}]." if index else "",
            )
            for index, body in enumerate(bodies)
        ]
        try:
            posted = await self._posting.post(drafts)
        except TransactionExists as refusal:
            place = refusal.details.get("index")
            body = bodies[place] if isinstance(place, int) else first
            raise of_key(refusal, given=body.id) from None
        is_replay = all(each.is_replay for each in posted)
        if is_replay:
            await self._require_whole(request, bodies)
        views = [await self._reading.transaction(each.id) for each in posted]
        answer = transaction_body(views[0])
        if len(views) > 1:
            answer.linked = [transaction_body(view) for view in views[1:]]
        return Answer(data=answer, headers=REPLAYED if is_replay else ())

    async def _require_whole(self, request: Request, bodies: Sequence[TransactionBody]) -> None:
        """Refuse a repetition whose key had more linked transactions the first time."""
        if any(body.id is None for body in bodies):
            following = id_for(request, given=None, place=_place(len(bodies)))
            if await self._reading.is_stored(following):
                raise IdempotencyKeyReused(fields=named(["linked"]))

    async def post_hold(self, request: Request) -> Answer:
        """The rest of what was held is free again. Posting it again alike changes nothing."""
        hold_id = TransactionId(request.id("transaction_id"))
        amount_minor = await self._amount(hold_id, request.body.amount)
        ended = await self._holds.settle(hold_id, amount_minor=amount_minor)
        return await self._ended(hold_id, ended)

    async def void_hold(self, request: Request) -> Answer:
        """What was held is free again. Voiding it again changes nothing."""
        hold_id = TransactionId(request.id("transaction_id"))
        return await self._ended(hold_id, await self._holds.void(hold_id))

    async def _ended(self, hold_id: TransactionId, ended: Ended) -> Answer:
        return Answer(
            data=transaction_body(await self._reading.transaction(hold_id)),
            headers=REPLAYED if ended.is_replay else (),
        )

    async def reverse(self, request: Request) -> Answer:
        """A new transaction that undoes this one; parts of it never add up to more than it.

        A part is spread over the entries in proportion to what is left of each.
        """
        body: Reverse = request.body
        original_id = TransactionId(request.id("transaction_id"))
        draft = ReversalDraft(
            id=id_for(request, given=body.id, place=f"reverse:{original_id}"),
            original_id=original_id,
            amount_minor=await self._amount(original_id, body.amount),
            description=body.description or "",
            metadata=metadata_text(body.metadata, field="metadata"),
        )
        try:
            posted = await self._reversing.reverse(draft)
        except TransactionExists as refusal:
            raise of_key(refusal, given=body.id) from None
        return Answer(
            data=transaction_body(await self._reading.transaction(posted.id)),
            headers=REPLAYED if posted.is_replay else (),
        )

    async def _amount(self, transaction_id: TransactionId, amount: Amount | None) -> int | None:
        """An amount in the currency of a transaction that has one."""
        if amount is None:
            return None
        view = await self._reading.transaction(transaction_id)
        if view.held_currency is not None:
            return parse_amount(amount, view.held_currency)
        currencies = {entry.currency.code: entry.currency for entry in view.entries}
        if len(currencies) != 1:
            raise NotReversible("A transaction in several currencies is reversed in full.")
        return parse_amount(amount, next(iter(currencies.values())))


def _place(index: int) -> str:
    """Of a transaction in its request; in bulk each has another, so a key is free for both."""
    return f"linked:{index}" if index else ""
