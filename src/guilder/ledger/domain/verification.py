"""Judges what a slice of a chain sums up to against what its account says."""

from __future__ import annotations

from msgspec import Struct

from guilder.kernel.ids import AccountId


class Violation(Struct, frozen=True, kw_only=True):
    """A place where the ledger contradicts itself."""

    invariant: str
    row: str


class SliceSums(Struct, frozen=True, kw_only=True):
    """What the entries of a slice come to. ``entries`` is 0 where there are none."""

    entries: int = 0
    debits: int = 0
    credits: int = 0
    last_sequence: int = 0
    last_hash: bytes = b""
    broken_sequence: int | None = None


class AccountHead(Struct, frozen=True, kw_only=True):
    """An account as it says it is, beside what of it was verified before."""

    account_id: AccountId
    is_debit_normal: bool
    sequence: int
    last_hash: bytes
    posted_debits: int
    posted_credits: int
    verified: int
    verified_hash: bytes
    verified_debits: int
    verified_credits: int

    @property
    def verified_balance(self) -> int:
        """The balance after the last verified entry, on the normal side."""
        net = self.verified_debits - self.verified_credits
        return net if self.is_debit_normal else -net


def violation(head: AccountHead, sums: SliceSums, *, up_to: int) -> Violation | None:
    """What is wrong with the entries of an account up to ``up_to``, the first thing found.

    Where ``up_to`` is the account's own last entry, its sums and its last hash must be theirs.
    """
    row = f"{head.account_id}:{sums.broken_sequence}"
    if sums.broken_sequence is not None:
        return Violation(invariant="chain", row=row)
    if up_to < head.verified or sums.entries != up_to - head.verified:
        return Violation(invariant="sequence", row=str(head.account_id))
    if up_to < head.sequence:
        return None
    expected = (
        head.verified_debits + sums.debits,
        head.verified_credits + sums.credits,
        sums.last_hash if sums.entries else head.verified_hash,
    )
    if expected != (head.posted_debits, head.posted_credits, head.last_hash):
        return Violation(invariant="balance", row=str(head.account_id))
    return None
