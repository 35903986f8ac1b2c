"""Posts transactions under ids that their callers chose: one, a linked group, or thousands.

The id makes repeating safe: the same contents under the same id are posted once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final, TypeAlias

from msgspec import Struct

from guilder.kernel.errors import Refusal
from guilder.kernel.ids import AccountId, TransactionId
from guilder.ledger.api import (
    Book,
    KeptByItsContext,
    Ledger,
    LinkedRefused,
    Reserved,
    TransactionDraft,
    TransactionExists,
)
from guilder.ledger.domain.transactions import StoredTransaction, stored
from guilder.ledger.store import transactions
from guilder.platform.batching import Batcher
from guilder.platform.db import Database, Tx

CHUNK: Final = 2_000
"""How many transactions one database transaction posts at most, linked groups apart."""


class Posted(Struct, frozen=True, kw_only=True):
    """A transaction is stored; ``is_replay`` when it was before."""

    id: TransactionId
    is_replay: bool


Outcome: TypeAlias = Posted | Refusal
Group: TypeAlias = Sequence[TransactionDraft]
_Known: TypeAlias = dict[TransactionId, StoredTransaction]


class PostTransactions:
    """Posts groups of transactions; each group is posted whole or not at all."""

    def __init__(self, db: Database, *, ledger: Ledger, reserved: Reserved | None = None) -> None:
        self._db = db
        self._ledger = ledger
        self._kept = (reserved or Reserved()).kinds
        # Bundles that touch the same accounts take turns here, not as a crowd at the rows' locks;
        # those of different callers that arrive meanwhile share a commit.
        self._queue: Batcher[Sequence[Group], list[list[Outcome]]] = Batcher(
            self._post_bundles, touches=_accounts_of, weight=_size, max_batch=CHUNK
        )

    async def post(self, group: Group) -> list[Posted]:
        """Post all transactions of one group or none.

        Raises:
            Refusal: the first one that was refused; ``details["index"]`` says which, where there
                are several.
        """
        outcomes = (await self.post_groups([group]))[0]
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
            outcomes += await self._queue.submit(chunk)
        return outcomes

    async def _post_bundles(self, bundles: Sequence[Sequence[Group]]) -> list[list[list[Outcome]]]:
        groups = [group for bundle in bundles for group in bundle]
        outcomes = iter(await self._db.run(partial(self._post, groups)))
        return [[next(outcomes) for _ in bundle] for bundle in bundles]

    async def _post(self, groups: Sequence[Group], tx: Tx) -> list[list[Outcome]]:
        drafts = [draft for group in groups for draft in group]
        book = await self._ledger.open_book(
            tx, {entry.account_id for draft in drafts for entry in draft.entries}
        )
        # Read under the locks: whoever posted one of these ids to these accounts has committed.
        ids = [draft.id for draft in drafts]
        taken = await transactions.taken(tx, ids)
        known = await transactions.read_stored(tx, taken) if taken else {}
        outcomes = [
            self._kept_elsewhere(group) or _post_group(book, group, known=known) for group in groups
        ]
        await self._ledger.write(tx, book)
        return outcomes

    def _kept_elsewhere(self, group: Group) -> list[Outcome] | None:
        if all(draft.kind not in self._kept for draft in group):
            return None
        return [KeptByItsContext() if d.kind in self._kept else LinkedRefused() for d in group]


def _accounts_of(groups: Sequence[Group]) -> set[AccountId]:
    return {entry.account_id for group in groups for draft in group for entry in draft.entries}


def _size(groups: Sequence[Group]) -> int:
    return sum(len(group) for group in groups)


def _chunks(groups: Sequence[Group]) -> Iterator[Sequence[Group]]:
    chunk: list[Group] = []
    size = 0
    for group in groups:
        if chunk and size + len(group) > CHUNK:
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
    same = [draft.id in known and known[draft.id].is_same_as(draft) for draft in group]
    if all(same):
        return [Posted(id=draft.id, is_replay=True) for draft in group]
    is_complete = all(draft.id in known for draft in group)
    return [
        TransactionExists(transaction_id=str(draft.id))
        if draft.id in known and not (is_same and is_complete)
        else LinkedRefused()
        for draft, is_same in zip(group, same, strict=True)
    ]
