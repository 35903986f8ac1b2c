"""What a book writes as packed rows: of the types that the migrations give the same names."""

from __future__ import annotations

from struct import Struct
from typing import Final

from guilder.ledger.api import Account
from guilder.ledger.domain.book import PostedEntry, PostedTransaction
from guilder.ledger.domain.controls import Control
from guilder.ledger.domain.seals import control_seal
from guilder.platform.db_rows import (
    DIGEST,
    ID,
    INTEGER,
    MOMENT,
    digest_column,
    head_of_row,
    id_column,
    moment_column,
    row,
    row_array,
    since_2000,
    text_column,
    word_column,
)

TRANSACTIONS: Final = row_array("ledger.new_transactions")
ENTRIES: Final = row_array("ledger.new_entries")
ACCOUNTS: Final = row_array("ledger.moved_accounts")
CONTROLS: Final = row_array("ledger.used_controls")

# Eight bytes before the row and before each value.
_ENTRY: Final = Struct(">8s 8s16s 8sq 8s16s 8sq 8sq 8s32s")
_ENTRY_HEAD: Final = head_of_row(6, size=_ENTRY.size)
_ACCOUNT: Final = Struct(">8s 8s16s 8sq 8sq 8sq 8sq 8sq 8s32s")
_ACCOUNT_HEAD: Final = head_of_row(7, size=_ACCOUNT.size)
_CONTROL: Final = Struct(">8s 8s16s 8sq 8sq 8sq 8s32s")
_CONTROL_HEAD: Final = head_of_row(5, size=_CONTROL.size)


def transaction(posted: PostedTransaction) -> bytes:
    """A row of ``ledger.new_transaction``."""
    draft = posted.draft
    return row(
        id_column(draft.id),
        word_column(draft.kind),
        text_column(draft.description),
        text_column(draft.metadata),
        moment_column(posted.effective_at),
        moment_column(draft.expires_at),
        id_column(None if draft.reverses is None else draft.reverses.id),
        digest_column(posted.digest),
    )


def entry(posted: PostedEntry) -> bytes:
    """A row of ``ledger.new_entry``."""
    return _ENTRY.pack(
        _ENTRY_HEAD,
        ID,
        posted.account_id.bytes,
        INTEGER,
        posted.sequence,
        ID,
        posted.transaction_id.bytes,
        INTEGER,
        posted.amount_minor,
        INTEGER,
        posted.balance_after_minor,
        DIGEST,
        posted.hash,
    )


def account(moved: Account) -> bytes:
    """A row of ``ledger.moved_account``."""
    return _ACCOUNT.pack(
        _ACCOUNT_HEAD,
        ID,
        moved.id.bytes,
        INTEGER,
        moved.posted_debits,
        INTEGER,
        moved.posted_credits,
        INTEGER,
        moved.pending_debits,
        INTEGER,
        moved.pending_credits,
        INTEGER,
        moved.sequence,
        DIGEST,
        moved.last_hash,
    )


def control(used: Control) -> bytes:
    """A row of ``ledger.used_control``, sealed anew."""
    return _CONTROL.pack(
        _CONTROL_HEAD,
        ID,
        used.id.bytes,
        MOMENT,
        since_2000(used.used_at),
        INTEGER,
        used.day_used_minor,
        INTEGER,
        used.month_used_minor,
        DIGEST,
        control_seal(used),
    )
