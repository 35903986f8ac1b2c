"""Parts of holds and reversals: balanced, never more than their line, complete in the end."""

from __future__ import annotations

from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.kernel.errors import Refusal
from guilder.kernel.ids import AccountId, TransactionId
from guilder.kernel.invariant import InvariantViolation
from guilder.kernel.money import MAX_AMOUNT_MINOR
from guilder.ledger.api import EntryDraft, NotReversible
from guilder.ledger.domain.holds import scaled
from guilder.ledger.domain.reversals import Original, reversing_entries
from tests.support.books import ANNA, BEN, CARLA, NOON

_accounts = st.sampled_from([AccountId(UUID(int=n)) for n in range(1, 7)])
_amounts = st.integers(1, 10**9)


@st.composite
def balanced(draw: st.DrawFn) -> tuple[EntryDraft, ...]:
    """Lines in one currency that sum to zero."""
    debits = draw(st.lists(st.tuples(_accounts, _amounts), min_size=1, max_size=5))
    total = sum(amount for _, amount in debits)
    cuts = sorted(draw(st.sets(st.integers(1, max(1, total - 1)), max_size=4)) - {total})
    edges = [0, *cuts, total]
    credits_ = [(draw(_accounts), -(high - low)) for low, high in pairwise(edges)]
    return tuple(EntryDraft(*line) for line in draw(st.permutations([*debits, *credits_])))


def _original(lines: tuple[EntryDraft, ...], **fields: object) -> Original:
    return Original(
        id=TransactionId(UUID(int=50)), kind="transfer", recorded_at=NOON, entries=lines, **fields
    )


@given(balanced(), st.data())
def test_a_part_of_balanced_lines_is_balanced_and_within_each_line(
    lines: tuple[EntryDraft, ...], data: st.DataObject
):
    total = sum(max(0, line.amount_minor) for line in lines)
    amount = data.draw(st.integers(0, total))

    parts = scaled(lines, amount)

    assert sum(part.amount_minor for part in parts) == 0
    assert sum(max(0, part.amount_minor) for part in parts) == amount
    for part, line in zip(parts, lines, strict=True):
        assert part.account_id == line.account_id
        assert part.amount_minor * line.amount_minor >= 0
        assert abs(part.amount_minor) <= abs(line.amount_minor)


@given(balanced(), st.data())
def test_reversals_in_parts_undo_the_original_exactly(
    lines: tuple[EntryDraft, ...], data: st.DataObject
):
    original = _original(lines)
    left = sum(max(0, line.amount_minor) for line in lines)
    while left:
        amount = data.draw(st.one_of(st.none(), st.integers(1, left)))
        undone = reversing_entries(original, amount, currencies=1)
        assert not isinstance(undone, Refusal)
        assert sum(entry.amount_minor for entry in undone) == 0
        assert all(entry.amount_minor for entry in undone)
        original.reversing = (*original.reversing, *undone)
        left -= left if amount is None else amount

    assert all(entry.amount_minor == 0 for entry in original.remaining())
    assert isinstance(reversing_entries(original, None, currencies=1), Refusal)


@given(balanced(), st.integers(1, 10**6))
def test_no_more_than_what_is_left_is_reversed(lines: tuple[EntryDraft, ...], more: int):
    total = sum(max(0, line.amount_minor) for line in lines)

    assert isinstance(reversing_entries(_original(lines), total + more, currencies=1), Refusal)
    assert isinstance(reversing_entries(_original(lines), 0, currencies=1), Refusal)


def test_reversals_holds_and_parts_of_exchanges_are_not_reversible():
    lines = (EntryDraft(ANNA, 5), EntryDraft(BEN, -5))

    for original, amount, currencies in (
        (_original(lines, is_reversal=True), None, 1),
        (_original(()), None, 1),
        (_original(lines), 5, 2),
    ):
        refused = reversing_entries(original, amount, currencies=currencies)
        assert isinstance(refused, NotReversible)
    assert not isinstance(reversing_entries(_original(lines), None, currencies=2), Refusal)


def test_a_reversal_of_something_else_is_a_bug():
    lines = (EntryDraft(ANNA, 5), EntryDraft(BEN, -5))

    with pytest.raises(InvariantViolation):
        _original(lines, reversing=lines).remaining()


def test_what_several_lines_moved_is_undone_in_entries_of_a_possible_size():
    most = MAX_AMOUNT_MINOR
    lines = tuple(EntryDraft(*line) for line in [(ANNA, most), (ANNA, most), (BEN, -most)] * 2)
    lines += tuple(EntryDraft(CARLA, amount) for amount in (7 - most, -most, -7))

    undone = reversing_entries(_original(lines), None, currencies=1)

    assert not isinstance(undone, Refusal)
    assert max(abs(entry.amount_minor) for entry in undone) == most
    assert sum(entry.amount_minor for entry in undone if entry.account_id == ANNA) == -4 * most
    assert sum(entry.amount_minor for entry in undone if entry.account_id == CARLA) == 2 * most
