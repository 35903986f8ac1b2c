"""Routes of the ledger: parse, call one use case, answer.

Services and staff post and read everything; owners read the entries, the chain and the statement
of their own accounts.
"""

from __future__ import annotations

from guilder.ledger.http.accounts import AccountRoutes
from guilder.ledger.http.bulk import BulkRoutes
from guilder.ledger.http.reading import ReadingRoutes
from guilder.ledger.http.transactions import TransactionRoutes
from guilder.ledger.service.end_holds import EndHolds
from guilder.ledger.service.manage_accounts import ManageAccounts
from guilder.ledger.service.post_transactions import PostTransactions
from guilder.ledger.service.read_ledger import ReadLedger
from guilder.ledger.service.reverse_transaction import ReverseTransaction
from guilder.platform.http.route import Route


def routes(
    *,
    accounts: ManageAccounts,
    posting: PostTransactions,
    holds: EndHolds,
    reversing: ReverseTransaction,
    reading: ReadLedger,
) -> tuple[Route, ...]:
    """Every route of the ledger."""
    return (
        *AccountRoutes(accounts, reading=reading).routes(),
        *TransactionRoutes(
            posting=posting, holds=holds, reversing=reversing, reading=reading
        ).routes(),
        *BulkRoutes(posting, reading=reading).routes(),
        *ReadingRoutes(reading).routes(),
    )
