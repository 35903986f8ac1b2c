"""Reversals: what of a transaction is left to undo, and the entries that undo a part of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from msgspec import Struct

from guilder.kernel.errors import Refusal
from guilder.kernel.ids import AccountId, TransactionId
from guilder.kernel.invariant import invariant
from guilder.kernel.money import MAX_AMOUNT_MINOR
from guilder.ledger.api import AmountExceedsOriginal, EntryDraft, NotReversible
from guilder.ledger.domain.holds import scaled


class Original(Struct, kw_only=True):
    """A stored transaction that may be reversed: its entries, and those of its reversals so far."""

    id: TransactionId
    kind: str
    recorded_at: datetime
    entries: tuple[EntryDraft, ...]
    is_reversal: bool = False
    reversing: tuple[EntryDraft, ...] = ()

    def remaining(self) -> tuple[EntryDraft, ...]:
        """What no reversal has undone yet, by account and side, with the signs of the original."""
        left: dict[tuple[AccountId, bool], int] = {}
        for entry in self.entries:
            side = entry.account_id, entry.amount_minor > 0
            left[side] = left.get(side, 0) + entry.amount_minor
        for entry in self.reversing:
            side = entry.account_id, entry.amount_minor < 0
            invariant(side in left, "a reversal undoes what its original did")
            left[side] += entry.amount_minor
        return tuple(EntryDraft(account_id, amount) for (account_id, _), amount in left.items())


def reversing_entries(
    original: Original, amount_minor: int | None, *, currencies: int
) -> tuple[EntryDraft, ...] | Refusal:
    """The entries that undo ``amount_minor`` of the original, or all that is left of it.

    A part is spread over what remains of each line in proportion, so parts that add up to the
    original undo it exactly. ``currencies`` says how many the original has; a part needs one.
    """
    if original.is_reversal or not original.entries:
        return NotReversible()
    remaining = original.remaining()
    left_minor = sum(max(0, entry.amount_minor) for entry in remaining)
    if amount_minor is None:
        undone = remaining
        if left_minor == 0:
            return AmountExceedsOriginal()
    elif currencies > 1:
        return NotReversible("A transaction in several currencies is reversed in full.")
    elif not 0 < amount_minor <= left_minor:
        return AmountExceedsOriginal()
    else:
        undone = scaled(remaining, amount_minor)
    return tuple(
        EntryDraft(entry.account_id, amount_minor)
        for entry in undone
        for amount_minor in _in_bounds(-entry.amount_minor)
    )


def _in_bounds(amount_minor: int) -> Iterator[int]:
    """An amount in parts that an entry can have: several lines of one account are undone as one."""
    sign = 1 if amount_minor > 0 else -1
    left = abs(amount_minor)
    while left:
        part = min(left, MAX_AMOUNT_MINOR)
        yield sign * part
        left -= part
