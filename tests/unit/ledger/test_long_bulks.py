"""A bulk of thousands lets others in while it is worked on: no piece of it is long."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

from guilder.kernel.currencies import INR, Currency
from guilder.kernel.ids import AccountId, TransactionId
from guilder.ledger.api import EntryDraft, Ledger, TransactionDraft
from guilder.ledger.http.bodies import EntryBody, Side
from guilder.ledger.http.bulk import BulkItem, BulkRoutes, PostBulk
from guilder.ledger.service.post_transactions import (
    AT_A_STRETCH,
    PIECE,
    Group,
    Outcome,
    Posted,
    PostTransactions,
)
from guilder.ledger.service.read_ledger import ReadLedger
from guilder.platform.db import Database
from guilder.platform.http.fields import Amount
from guilder.platform.http.route import Request
from tests.support.shop import caller
from tests.support.turns import turns_during

ANNAS, BENS = AccountId(uuid4()), AccountId(uuid4())


class InkPot:
    """A ledger, its book and its database, that take everything and wait for nothing."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 27, tzinfo=UTC)
        self.sizes: list[int] = []
        self.posted = 0

    async def run(self, work: Callable[[Any], Awaitable[object]]) -> object:
        return await work(self)

    async def fetch(self, *_: object) -> list[object]:
        return []

    async def fetchval(self, *_: object) -> bool:
        return True

    async def execute(self, *_: object) -> str:
        return ""

    async def open_book(self, *_: object, movements: object) -> InkPot:
        self.posted = 0
        return self

    def post(self, _: TransactionDraft) -> None:
        self.posted += 1

    async def write(self, *_: object) -> None:
        self.sizes.append(self.posted)


class Clerk:
    """Knows every account, and posts whatever it is given."""

    async def currencies(self, account_ids: set[AccountId]) -> Mapping[AccountId, Currency]:
        return dict.fromkeys(account_ids, INR)

    async def post_groups(self, groups: Sequence[Group]) -> list[list[Outcome]]:
        return [[Posted(id=draft.id, is_replay=False) for draft in group] for group in groups]


def _sides(amount: str) -> list[EntryBody]:
    return [
        EntryBody(account_id=ANNAS, direction=Side.DEBIT, amount=Amount(amount)),
        EntryBody(account_id=BENS, direction=Side.CREDIT, amount=Amount(amount)),
    ]


async def test_others_are_let_in_while_a_bulk_is_drafted() -> None:
    clerk = Clerk()
    routes = BulkRoutes(cast("PostTransactions", clerk), reading=cast("ReadLedger", clerk))
    request = Request(
        method="POST",
        path="/api/v1/ledger/transactions/bulk",
        params={},
        headers={},
        request_id="june",
        client_address="127.0.0.1",
        caller=caller(frozenset({"ledger:write"})),
        idempotency_key="june",
        body=PostBulk(transactions=[BulkItem(entries=_sides("1.00"))] * 2_000),
    )

    assert await turns_during(routes.post(request)) >= 2_000 / AT_A_STRETCH


async def test_others_are_let_in_while_a_bulk_is_decided_and_its_pieces_are_small() -> None:
    pot = InkPot()
    posting = PostTransactions(cast("Database", pot), ledger=cast("Ledger", pot))
    groups = [
        [
            TransactionDraft(
                id=TransactionId(uuid4()),
                kind="salary",
                entries=(EntryDraft(ANNAS, 100), EntryDraft(BENS, -100)),
            )
        ]
        for _ in range(2 * PIECE + 1)
    ]

    turns = await turns_during(posting.post_groups(groups))

    assert turns >= 2 * PIECE / AT_A_STRETCH
    assert pot.sizes == [PIECE, PIECE, 1]
