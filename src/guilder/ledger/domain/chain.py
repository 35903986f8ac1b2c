"""The bytes that are hashed. `guilder verify` computes the same in SQL, from the stored columns.

Integers are 8-byte big-endian, times are microseconds since 1970, texts are UTF-8 after their
4-byte length, and an absent id or time is zero. So PostgreSQL's ``uuid_send``, ``int8send`` and
``sha256`` are all an auditor needs.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from struct import Struct
from typing import Final
from uuid import UUID

from guilder.kernel.clock import epoch_microseconds, shared_epoch_microseconds
from guilder.kernel.seals import sized, sized_word

GENESIS: Final = bytes(32)
"""The hash before an account's first entry."""

_NO_ID: Final = bytes(16)
_ENTRY: Final = Struct(">32s16sq16sqqq32s").pack
_TIMES: Final = Struct(">qqq").pack


def entry_hash(
    *,
    previous: bytes,
    account_id: UUID,
    sequence: int,
    transaction_id: UUID,
    amount_minor: int,
    balance_after_minor: int,
    recorded_us: int,
    digest: bytes,
) -> bytes:
    """The hash of an entry over all its fields, its transaction's digest and the hash before it."""
    return sha256(
        _ENTRY(
            previous,
            account_id.bytes,
            sequence,
            transaction_id.bytes,
            amount_minor,
            balance_after_minor,
            recorded_us,
            digest,
        )
    ).digest()


def transaction_digest(
    *,
    transaction_id: UUID,
    kind: str,
    description: str,
    metadata: str,
    effective_at: datetime,
    recorded_us: int,
    expires_at: datetime | None,
    reverses_id: UUID | None,
) -> bytes:
    """The digest over every column of a transaction; the hash of each of its entries covers it."""
    return sha256(
        b"".join(
            (
                transaction_id.bytes,
                _NO_ID if reverses_id is None else reverses_id.bytes,
                _TIMES(
                    shared_epoch_microseconds(effective_at),
                    recorded_us,
                    0 if expires_at is None else epoch_microseconds(expires_at),
                ),
                sized_word(kind),
                sized(description),
                sized(metadata),
            )
        )
    ).digest()
