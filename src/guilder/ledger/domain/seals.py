"""Seals: a digest of each row that may change, so that `guilder verify` sees an edit made past us.

Which columns a seal covers, and in which order, is written once here and once in SQL (verify).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from guilder.kernel.clock import epoch_microseconds, shared_epoch_microseconds
from guilder.kernel.seals import seal
from guilder.ledger.api import Account, EntryDraft, NewAccount
from guilder.ledger.domain.controls import Control
from guilder.ledger.domain.floors import FloorChange
from guilder.ledger.domain.holds import Hold


def account_seal(account: NewAccount | Account, *, created_at: datetime) -> bytes:
    """Over what an account is and may do; its sums are covered by its entries."""
    return seal(
        str(account.id),
        None if account.owner_id is None else str(account.owner_id),
        account.code,
        account.type,
        account.currency.code,
        _number(account.floor_minor),
        account.status,
        _moment(created_at),
    )


def hold_lines(lines: Iterable[EntryDraft]) -> str:
    """A hold's lines as the JSON text that is stored: ``[["account id", amount], ...]``."""
    pairs = ",".join(f'["{line.account_id}",{line.amount_minor}]' for line in lines)
    return f"[{pairs}]"


def hold_seal(hold: Hold) -> bytes:
    """Over every column of a hold."""
    return seal(
        str(hold.transaction_id),
        hold_lines(hold.lines),
        str(hold.amount_minor),
        str(hold.posted_minor),
        hold.state,
        _moment(hold.expires_at),
        None if hold.ended_at is None else _moment(hold.ended_at),
    )


def control_seal(control: Control) -> bytes:
    """Over every column of a control."""
    return seal(
        str(control.id),
        str(control.subject_id),
        control.currency.code,
        control.direction,
        None if control.kinds is None else ",".join(sorted(control.kinds)),
        _number(control.limits.per_transaction_minor),
        _number(control.limits.per_day_minor),
        _number(control.limits.per_month_minor),
        control.time_zone,
        _moment(control.created_at),
        str(shared_epoch_microseconds(control.used_at)),
        str(control.day_used_minor),
        str(control.month_used_minor),
    )


def floor_change_seal(change: FloorChange) -> bytes:
    """Over every column of a change of an account's floor."""
    return seal(
        str(change.account_id),
        str(change.number),
        str(change.after_sequence),
        _number(change.previous_floor_minor),
        _number(change.floor_minor),
        _moment(change.changed_at),
    )


def _number(value: int | None) -> str | None:
    return None if value is None else str(value)


def _moment(value: datetime) -> str:
    return str(epoch_microseconds(value))
