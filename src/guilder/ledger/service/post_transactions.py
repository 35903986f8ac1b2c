"""Posts transactions under ids that their callers chose: one, a linked group, or thousands.

The id makes repeating safe: the same contents under the same id are posted once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import compress
from typing import Final, TypeAlias

from msgspec import Struct

from guilder.kernel.errors import Overloaded, Refusal
from guilder.kernel.ids import AccountId, TransactionId
from guilder.ledger.api import (
    Book,
    Direction,
    KeptByItsContext,
    Ledger,
    LinkedRefused,
    Movement,
    Reserved,
    TransactionDraft,
    TransactionExists,
)
from guilder.ledger.domain.transactions import StoredTransaction, named, stored
from guilder.ledger.service import telling
from guilder.ledger.service.acts import perform
from guilder.ledger.store import transactions
from guilder.platform import failpoints
from guilder.platform.batching import Batcher
from guilder.platform.db import Database, RowsBusy, Tx
from guilder.platform.origin import Origin, current
from guilder.platform.outbox import Outgoing

CHUNK: Final = 2_000
"""How many transactions one database transaction posts at most, linked groups apart."""
PIECE: Final = 1_000
"""How many of them come from one call: longer ones are posted in several database transactions."""
AT_A_STRETCH: Final = 100
"""How many transactions are worked on before others are let in: a few milliseconds' worth."""
AFTER_CHUNK: Final = failpoints.declare(
    "ledger.after_chunk", "a chunk of a bulk posting is committed, the next is not begun"
)


class Posted(Struct, frozen=True, kw_only=True):
    """A transaction is stored; ``is_replay`` when it was before."""

    id: TransactionId
    is_replay: bool


Outcome: TypeAlias = Posted | Refusal
Group: TypeAlias = Sequence[TransactionDraft]
_Outcomes: TypeAlias = list[list[Outcome]]
_Known: TypeAlias = dict[TransactionId, StoredTransaction]


class _Bundle(Struct, frozen=True, kw_only=True):
    """What one caller has posted together."""

    groups: Sequence[Group]
    is_bulk: bool
    origin: Origin


class PostTransactions:
    """Posts groups of transactions; each group is posted whole or not at all."""

    def __init__(self, db: Database, *, ledger: Ledger, reserved: Reserved | None = None) -> None:
        self._db = db
        self._ledger = ledger
        self._kept = (reserved or Reserved()).kinds
        # Bundles that touch the same accounts take turns here, not as a crowd at the rows' locks;
        # those of different callers that arrive meanwhile share a commit.
        self._queue: Batcher[_Bundle, _Outcomes | Overloaded] = Batcher(
            self._post_bundles, touches=_accounts_of, weight=_size, max_batch=CHUNK
        )

    async def post(self, group: Group) -> list[Posted]:
        """Post all transactions of one group or none.

        Raises:
            Refusal: the first one that was refused; ``details["index"]`` says which, where there
                are several.
            Overloaded: too much is waiting, somebody keeps one of the accounts locked, or the
                database does not answer in time.
        """
        bundle = _Bundle(groups=[group], is_bulk=False, origin=current())
        outcomes = (await self._submit(bundle))[0]
        posted = [outcome for outcome in outcomes if isinstance(outcome, Posted)]
        for index, outcome in enumerate(outcomes):
            if isinstance(outcome, Refusal) and not isinstance(outcome, LinkedRefused):
                if len(group) > 1:
                    outcome.details["index"] = index
                raise outcome
        return posted

    async def post_groups(self, groups: Sequence[Group]) -> list[list[Outcome]]:
        """Post each group whole or not at all, in order; an outcome for each transaction.

        Groups are committed in chunks, so a crash can leave the later ones unposted: repeat the
        call with the same ids. Within a refused group, whoever was not at fault is
        `LinkedRefused`.
        """
        outcomes: list[list[Outcome]] = []
        for chunk in _chunks(groups):
            bundle = _Bundle(groups=chunk, is_bulk=True, origin=current())
            outcomes += await self._submit(bundle)
            await failpoints.reach(AFTER_CHUNK)
        return outcomes

    async def _submit(self, bundle: _Bundle) -> _Outcomes:
        outcomes = await self._queue.submit(bundle)
        if isinstance(outcomes, Overloaded):
            raise outcomes
        return outcomes

    async def _post_bundles(self, bundles: Sequence[_Bundle]) -> Sequence[_Outcomes | Overloaded]:
        try:
            return await perform(self._db, partial(self._post, bundles, None))
        except RowsBusy:
            if len(bundles) == 1:
                raise
            return await self._without_busy(bundles)

    async def _without_busy(self, bundles: Sequence[_Bundle]) -> Sequence[_Outcomes | Overloaded]:
        """Post what needs nothing that somebody keeps locked, and refuse the rest.

        Raises:
            Overloaded: that does not help either.
        """
        wanted = [_movements(bundle) for bundle in bundles]
        announced = set().union(*wanted)
        busy = await self._db.run(partial(self._ledger.busy, movements=announced))
        is_free = [busy.isdisjoint(moved) for moved in wanted]
        free = list(compress(bundles, is_free))
        moved = set().union(*compress(wanted, is_free))
        posted = await perform(self._db, partial(self._post, free, moved)) if free else []
        done = iter(posted)
        return [next(done) if goes else Overloaded() for goes in is_free]

    async def _post(
        self, bundles: Sequence[_Bundle], movements: Collection[Movement] | None, tx: Tx
    ) -> tuple[list[_Outcomes], Sequence[Outgoing]]:
        drafts = [draft for bundle in bundles for group in bundle.groups for draft in group]
        accounts = {entry.account_id for draft in drafts for entry in draft.entries}
        book = await self._ledger.open_book(tx, accounts, movements=movements)
        # Read under the locks: whoever posted one of these ids to these accounts has committed.
        ids = [draft.id for draft in drafts]
        taken = await transactions.taken(tx, ids)
        known = await transactions.read_stored(tx, taken) if taken else {}
        outcomes = [await self._post_groups(book, bundle.groups, known=known) for bundle in bundles]
        await self._ledger.write(tx, book)
        told = zip(bundles, outcomes, strict=True)
        return outcomes, [event for pair in told for event in _events(*pair, book=book)]

    async def _post_groups(
        self, book: Book, groups: Sequence[Group], *, known: _Known
    ) -> _Outcomes:
        outcomes: _Outcomes = []
        for number, group in enumerate(groups, 1):
            outcomes.append(self._kept_elsewhere(group) or _post_group(book, group, known=known))
            if number % AT_A_STRETCH == 0:
                await asyncio.sleep(0)
        return outcomes

    def _kept_elsewhere(self, group: Group) -> list[Outcome] | None:
        if all(draft.kind not in self._kept for draft in group):
            return None
        return [KeptByItsContext() if d.kind in self._kept else LinkedRefused() for d in group]


def _accounts_of(bundle: _Bundle) -> set[AccountId]:
    return {
        entry.account_id for group in bundle.groups for draft in group for entry in draft.entries
    }


def _movements(bundle: _Bundle) -> set[Movement]:
    """All that may move: which way, the account's type would say, which is not known yet."""
    return {
        Movement(entry.account_id, direction, draft.kind)
        for group in bundle.groups
        for draft in group
        for entry in draft.entries
        for direction in Direction
    }


def _size(bundle: _Bundle) -> int:
    return sum(len(group) for group in bundle.groups)


def _events(bundle: _Bundle, outcomes: _Outcomes, *, book: Book) -> list[Outgoing]:
    new = [
        draft
        for group, done in zip(bundle.groups, outcomes, strict=True)
        for draft, outcome in zip(group, done, strict=True)
        if isinstance(outcome, Posted) and not outcome.is_replay
    ]
    tell = telling.posted_in_bulk if bundle.is_bulk else telling.posted
    return tell(new, book=book, origin=bundle.origin)


def _chunks(groups: Sequence[Group]) -> Iterator[Sequence[Group]]:
    chunk: list[Group] = []
    size = 0
    for group in groups:
        if chunk and size + len(group) > PIECE:
            yield chunk
            chunk, size = [], 0
        chunk.append(group)
        size += len(group)
    if chunk:
        yield chunk


def _post_group(book: Book, group: Group, *, known: _Known) -> list[Outcome]:
    if any(draft.id in known for draft in group):
        return _repeated(group, known=known)
    if len({draft.id for draft in group}) < len(group):
        return [TransactionExists("Two linked transactions have the same id.") for _ in group]
    if len(group) == 1:
        refusal = book.post(group[0])
        if refusal is not None:
            return [refusal]
    else:
        refused = book.post_linked(group)
        if refused is not None:
            index, refusal = refused
            return [refusal if n == index else LinkedRefused() for n in range(len(group))]
    known.update((draft.id, stored(draft, recorded_at=book.now)) for draft in group)
    return [Posted(id=draft.id, is_replay=False) for draft in group]


def _repeated(group: Group, *, known: _Known) -> list[Outcome]:
    """A group is repeated as a whole; a part of it under new companions is another group."""
    is_complete = all(draft.id in known for draft in group)
    differing = [known[draft.id].differing(draft) if draft.id in known else [] for draft in group]
    if is_complete and not any(differing):
        return [Posted(id=draft.id, is_replay=True) for draft in group]
    return [
        TransactionExists(transaction_id=str(draft.id), fields=named(fields or ["linked"]))
        if draft.id in known and (fields or not is_complete)
        else LinkedRefused()
        for draft, fields in zip(group, differing, strict=True)
    ]
