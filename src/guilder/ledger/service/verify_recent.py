"""Verifies, again and again, what was recorded since the last time: chains, sums, balances.

Up to where an account was verified is kept beside it, so a pass costs what is new; and because
the kept heads carry their hash, a rewritten past is noticed too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Final
from uuid import UUID

from guilder.kernel.ids import AccountId
from guilder.ledger.domain.verification import AccountHead, SliceSums, Violation, violation
from guilder.ledger.store import slices
from guilder.ledger.store.slices import Head, Slice
from guilder.platform.db import Database, Row, Tx

ENTRIES_AT_ONCE: Final = 5_000
ACCOUNTS_AT_ONCE: Final = 1_000
RESTS_AS_LONG: Final = 4
"""To verify an entry costs the database about half of what it costs to record it, and money that
moves now goes before."""
_FIRST: Final = AccountId(UUID(int=0))

Report = Callable[[Violation], None]


class VerifyRecent:
    """One pass looks at every account that has moved; ``report`` is told what is wrong.

    Between slices it rests ``rests`` times as long as the last one took.
    """

    def __init__(self, db: Database, *, report: Report, rests: int = RESTS_AS_LONG) -> None:
        self._db = db
        self._report = report
        self._rests = rests

    async def run(self) -> None:
        """Verify what is new, in bounded slices, unless another process is at it."""
        after: AccountId | None = _FIRST
        while after is not None:
            began = monotonic()
            after, found = await self._db.run(partial(_verify_slice, after))
            for each in found:
                self._report(each)
            if after is not None:
                await asyncio.sleep((monotonic() - began) * self._rests)


async def _verify_slice(after: AccountId, tx: Tx) -> tuple[AccountId | None, list[Violation]]:
    """Verify one slice; answers behind which account to go on, if there is more."""
    if not await slices.is_alone(tx):
        return None, []
    rows = await slices.unverified(tx, after=after, limit=ACCOUNTS_AT_ONCE)
    if not rows:
        return None, []
    taken = _within_budget([AccountHead(**dict(row)) for row in rows])
    pieces = [_slice(head, up_to=up_to) for head, up_to in taken]
    sums = await slices.verify_slices(tx, pieces)
    found: list[Violation] = []
    good: list[Head] = []
    for head, up_to in taken:
        summed = _sums(sums.get(head.account_id))
        wrong = violation(head, summed, up_to=up_to)
        if wrong is None:
            good.append(_moved(head, summed))
        else:
            found.append(wrong)
    found += [
        Violation(invariant="transaction sum", row=str(row["transaction_id"]))
        for row in await slices.unbalanced(tx, pieces)
    ]
    if good:
        await slices.move_heads(tx, good)
    last, up_to = taken[-1]
    if up_to < last.sequence and good and good[-1].account_id == last.account_id:
        # The rest of this account comes first in the next slice.
        return AccountId(UUID(int=last.account_id.int - 1)), found
    is_last = len(taken) == len(rows) < ACCOUNTS_AT_ONCE
    return None if is_last else last.account_id, found


def _within_budget(heads: Sequence[AccountHead]) -> list[tuple[AccountHead, int]]:
    """The accounts of one slice, and up to which entry: few enough entries to be quick."""
    left = ENTRIES_AT_ONCE
    taken: list[tuple[AccountHead, int]] = []
    for head in heads:
        if left <= 0:
            break
        up_to = min(head.sequence, head.verified + left)
        taken.append((head, up_to))
        left -= max(0, up_to - head.verified)
    return taken


def _slice(head: AccountHead, *, up_to: int) -> Slice:
    return Slice(
        account_id=head.account_id,
        after_sequence=head.verified,
        up_to_sequence=up_to,
        hash=head.verified_hash,
        balance_minor=head.verified_balance,
    )


def _sums(row: Row | None) -> SliceSums:
    if row is None:
        return SliceSums()
    return SliceSums(
        entries=row["entries"],
        debits=row["debits"],
        credits=row["credits"],
        last_sequence=row["last_sequence"],
        last_hash=row["last_hash"],
        broken_sequence=row["broken_sequence"],
    )


def _moved(head: AccountHead, sums: SliceSums) -> Head:
    return Head(
        account_id=head.account_id,
        sequence=head.verified + sums.entries,
        hash=sums.last_hash if sums.entries else head.verified_hash,
        posted_debits=head.verified_debits + sums.debits,
        posted_credits=head.verified_credits + sums.credits,
    )
