"""Reverses posted transactions, in full or in part, under an id that the caller chose."""

from __future__ import annotations

from collections.abc import Sequence

from guilder.ledger.api import Ledger, ReversalDraft, TransactionExists, TransactionNotFound
from guilder.ledger.domain.transactions import named
from guilder.ledger.service import telling
from guilder.ledger.service.acts import perform
from guilder.ledger.service.post_transactions import Posted
from guilder.ledger.store import transactions
from guilder.platform.db import Database, Tx
from guilder.platform.outbox import Outgoing


class ReverseTransaction:
    """Posts reversals; all reversals of a transaction together never exceed it."""

    def __init__(self, db: Database, *, ledger: Ledger) -> None:
        self._db = db
        self._ledger = ledger

    async def reverse(self, draft: ReversalDraft) -> Posted:
        """Undo a transaction in full or in part.

        Repeating it with the same id and contents changes nothing.

        Raises:
            TransactionNotFound: there is no such original.
            TransactionExists: the id belongs to something else.
            NotReversible: the original is a reversal or pending, or has several currencies and
                only a part of it is to be reversed.
            AmountExceedsOriginal: less is left of it.
            InsufficientFunds: whoever received the money has spent it.
            AccountFrozen: money may not leave or enter one of its accounts.
        """
        return await perform(self._db, lambda tx: self._reverse(tx, draft))

    async def _reverse(self, tx: Tx, draft: ReversalDraft) -> tuple[Posted, Sequence[Outgoing]]:
        book = await self._ledger.open_book(tx, [], originals=[draft.original_id])
        ids = {draft.id, draft.original_id}
        known = await transactions.read_stored(tx, ids)
        if draft.original_id not in known:
            raise TransactionNotFound(transaction_id=str(draft.original_id))
        if draft.id in known:
            differing = known[draft.id].differing_reversal(draft)
            if differing:
                raise TransactionExists(transaction_id=str(draft.id), fields=named(differing))
            return Posted(id=draft.id, is_replay=True), ()
        refusal = book.reverse(draft)
        if refusal is not None:
            raise refusal
        await self._ledger.write(tx, book)
        made = (await transactions.read_stored(tx, [draft.id]))[draft.id]
        events = telling.reversed_by(draft, entries=made.lines, book=book)
        return Posted(id=draft.id, is_replay=False), events
