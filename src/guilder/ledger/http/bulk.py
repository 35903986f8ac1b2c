"""The route that posts thousands of transactions at once, with an outcome for each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import groupby
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from guilder.kernel.errors import Refusal
from guilder.kernel.ids import TransactionId
from guilder.ledger.api import AccountNotFound, LinkedRefused, TransactionDraft
from guilder.ledger.http.bodies import (
    KEY_OF_AN_ID,
    TransactionBody,
    accounts_named,
    draft_of,
    id_for,
    of_key,
)
from guilder.ledger.service.post_transactions import AT_A_STRETCH, Outcome, Posted, PostTransactions
from guilder.ledger.service.read_ledger import ReadLedger
from guilder.platform.http.fields import Label
from guilder.platform.http.route import Answer, Request, Route

MOST_AT_ONCE: Final = 10_000


class BulkItem(TransactionBody, kw_only=True):
    """A transaction; neighbours with the same ``group`` are posted all or none."""

    group: Label | None = None


class PostBulk(Struct, forbid_unknown_fields=True, kw_only=True):
    """Transactions to be posted in order, each on its own, or all or none when ``atomic``."""

    transactions: Annotated[list[BulkItem], Meta(min_length=1, max_length=MOST_AT_ONCE)]
    atomic: bool = False


class BulkError(Struct, kw_only=True):
    """Why a transaction was refused."""

    code: str
    message: str
    details: dict[str, Any]


class BulkResult(Struct, kw_only=True, omit_defaults=True):
    """What became of one transaction: posted, replayed (it was posted before) or refused."""

    index: int
    id: TransactionId
    status: str
    error: BulkError | None = None


class BulkBody(Struct, kw_only=True):
    """How many there are of each outcome, and each outcome in the order of the request."""

    posted: int
    replayed: int
    refused: int
    results: list[BulkResult]


class BulkRoutes:
    """The handler behind the route."""

    def __init__(self, posting: PostTransactions, *, reading: ReadLedger) -> None:
        self._posting = posting
        self._reading = reading

    def routes(self) -> tuple[Route, ...]:
        """The bulk route."""
        return (
            Route(
                method="POST",
                path="/ledger/transactions/bulk",
                handler=self.post,
                access="ledger:write",
                summary="Post up to 10,000 transactions",
                tag="Ledger",
                body=PostBulk,
                answers=BulkBody,
                moves_money=True,
                key_means=KEY_OF_AN_ID,
                max_body_bytes=16 * 1024 * 1024,
            ),
        )

    async def post(self, request: Request) -> Answer:
        """Each transaction has an outcome of its own; one that is refused hurts no other.

        With ``atomic``, or among neighbours of one ``group``, one refusal refuses all. Repeating
        the request is safe where the transactions have ids or the request an Idempotency-Key.
        """
        body: PostBulk = request.body
        items = body.transactions
        currencies = await self._reading.currencies(accounts_named([*items]))
        ids: list[TransactionId] = []
        drafted: list[TransactionDraft | Refusal] = []
        for index, item in enumerate(items):
            if index % AT_A_STRETCH == 0:
                await asyncio.sleep(0)  # whoever wants little does not wait for all of this
            id_ = id_for(request, given=item.id, place=str(index))
            ids.append(id_)
            try:
                field = f"transactions[{index}]."
                drafted.append(draft_of(item, id_=id_, currencies=currencies, field=field))
            except AccountNotFound as refusal:
                drafted.append(refusal)
        done = await self._outcomes(_groups(body, drafted))
        outcomes = [
            of_key(outcome, given=item.id) if isinstance(outcome, Refusal) else outcome
            for item, outcome in zip(items, done, strict=True)
        ]
        return Answer(data=_body(ids, outcomes))

    async def _outcomes(
        self, groups: Sequence[Sequence[TransactionDraft | Refusal]]
    ) -> list[Outcome]:
        whole = [[d for d in group if isinstance(d, TransactionDraft)] for group in groups]
        sound = [
            drafts for drafts, group in zip(whole, groups, strict=True) if len(drafts) == len(group)
        ]
        posted = iter(await self._posting.post_groups(sound))
        outcomes: list[Outcome] = []
        for drafts, group in zip(whole, groups, strict=True):
            if len(drafts) == len(group):
                outcomes += next(posted)
            else:
                outcomes += [d if isinstance(d, Refusal) else LinkedRefused() for d in group]
        return outcomes


def _groups(
    body: PostBulk, drafted: Sequence[TransactionDraft | Refusal]
) -> list[list[TransactionDraft | Refusal]]:
    if body.atomic:
        return [list(drafted)]
    names = [item.group or index for index, item in enumerate(body.transactions)]
    paired = zip(names, drafted, strict=True)
    return [[draft for _, draft in pairs] for _, pairs in groupby(paired, key=lambda pair: pair[0])]


def _body(ids: Sequence[TransactionId], outcomes: Sequence[Outcome]) -> BulkBody:
    results = [
        _result(index, id_, outcome)
        for index, (id_, outcome) in enumerate(zip(ids, outcomes, strict=True))
    ]
    statuses = [result.status for result in results]
    return BulkBody(
        posted=statuses.count("posted"),
        replayed=statuses.count("replayed"),
        refused=statuses.count("refused"),
        results=results,
    )


def _result(index: int, id_: TransactionId, outcome: Outcome) -> BulkResult:
    if isinstance(outcome, Posted):
        return BulkResult(index=index, id=id_, status="replayed" if outcome.is_replay else "posted")
    error = BulkError(code=outcome.code, message=outcome.message, details=outcome.details)
    return BulkResult(index=index, id=id_, status="refused", error=error)
