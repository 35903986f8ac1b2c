"""Ends holds: posts them in full or in part, voids them, and expires those whose time is over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from guilder.kernel.errors import Refusal
from guilder.kernel.ids import TransactionId
from guilder.ledger.api import Book, HoldNotFound, Ledger
from guilder.ledger.domain.holds import Hold, HoldState
from guilder.ledger.service import telling
from guilder.ledger.service.acts import perform
from guilder.ledger.store import books
from guilder.ledger.store import holds as stored
from guilder.platform.db import Database, Tx
from guilder.platform.outbox import Outgoing

EXPIRED_AT_ONCE: Final = 500


class Ended(Struct, frozen=True, kw_only=True):
    """How a hold has ended; ``is_replay`` when it had ended like this before."""

    hold: Hold
    is_replay: bool


class EndHolds:
    """Each way to end a hold is safe to repeat: the same end again changes nothing."""

    def __init__(self, db: Database, *, ledger: Ledger) -> None:
        self._db = db
        self._ledger = ledger

    async def settle(self, hold_id: TransactionId, *, amount_minor: int | None = None) -> Ended:
        """Post a hold in full (None) or in part and release the rest of it.

        Raises:
            HoldNotFound: there is no such hold.
            HoldEnded: it was voided, or posted with another amount.
            HoldExpired: its time is over.
            AmountExceedsOriginal: it holds less.
            AccountFrozen: money may not leave or enter one of its accounts.
        """
        return await perform(self._db, lambda tx: self._settle(tx, hold_id, amount_minor))

    async def void(self, hold_id: TransactionId) -> Ended:
        """End a hold without posting it.

        Raises:
            HoldNotFound: there is no such hold.
            HoldEnded: it was posted.
            HoldExpired: it has expired.
        """
        return await perform(self._db, lambda tx: self._void(tx, hold_id))

    async def expire_due(self) -> int:
        """Expire the holds whose time is over, a slice at a time; answers how many those were."""
        count = 0
        while True:
            expired = await perform(self._db, self._expire_slice)
            count += expired
            if expired < EXPIRED_AT_ONCE:
                return count

    async def _settle(
        self, tx: Tx, hold_id: TransactionId, amount_minor: int | None
    ) -> tuple[Ended, Sequence[Outgoing]]:
        book = await self._ledger.open_book(tx, [], holds=[hold_id])
        hold = await _read(tx, hold_id)
        wanted = hold.amount_minor if amount_minor is None else amount_minor
        if hold.state is HoldState.POSTED and hold.posted_minor == wanted:
            return Ended(hold=hold, is_replay=True), ()
        return await self._end(
            tx, book, hold_id, refusal=book.settle(hold_id, amount_minor=amount_minor)
        )

    async def _void(self, tx: Tx, hold_id: TransactionId) -> tuple[Ended, Sequence[Outgoing]]:
        book = await self._ledger.open_book(tx, [], holds=[hold_id])
        hold = await _read(tx, hold_id)
        if hold.state is HoldState.VOIDED:
            return Ended(hold=hold, is_replay=True), ()
        return await self._end(tx, book, hold_id, refusal=book.void(hold_id))

    async def _end(
        self, tx: Tx, book: Book, hold_id: TransactionId, *, refusal: Refusal | None
    ) -> tuple[Ended, Sequence[Outgoing]]:
        if refusal is not None:
            raise refusal
        await self._ledger.write(tx, book)
        hold = await _read(tx, hold_id)
        return Ended(hold=hold, is_replay=False), telling.ended([hold], book=book)

    async def _expire_slice(self, tx: Tx) -> tuple[int, Sequence[Outgoing]]:
        now = await books.database_time(tx)
        due = await stored.due_holds(tx, now=now, limit=EXPIRED_AT_ONCE)
        if not due:
            return 0, ()
        book = await self._ledger.open_book(tx, [], holds=due)
        # Somebody may have ended one while we waited for its lock; that is an end too.
        expired = [hold_id for hold_id in due if book.expire(hold_id) is None]
        await self._ledger.write(tx, book)
        return len(due), telling.ended(await stored.read_holds(tx, expired), book=book)


async def _read(tx: Tx, hold_id: TransactionId) -> Hold:
    found = await stored.read_holds(tx, [hold_id])
    if not found:
        raise HoldNotFound(transaction_id=str(hold_id))
    return found[0]
