"""The bytes that a payment's fingerprint and seal are made of.

Like the ledger's chains they are laid out so that PostgreSQL alone can compute them again: ids by
``uuid_send`` (absent: zeros), integers by ``int8send``, texts as UTF-8 after their 4-byte length
(absent: a length of -1).
"""

from __future__ import annotations

from hashlib import sha256
from struct import Struct
from typing import Final

import msgspec

from guilder.kernel.clock import epoch_microseconds, shared_epoch_microseconds
from guilder.kernel.errors import Refusal
from guilder.kernel.seals import sized, sized_word
from guilder.payments.api import Payment, PaymentOrder

_NO_ID: Final = bytes(16)
_ORDER: Final = Struct(">16s16sq3s").pack
_PAYMENT: Final = Struct(">16s16sq32s").pack
_MOMENT: Final = Struct(">q").pack
_NO_REASON: Final = sized(None) * 3


def fingerprint(order: PaymentOrder) -> bytes:
    """What a key stands for, but for when it counts, which its seal covers.

    Seals of payments that count from before they were recorded are made of this as it is. Whether a
    key comes again with everything the same is asked of the payment itself, its date included.
    """
    source, destination = order.from_wallet_id, order.to_wallet_id
    return sha256(
        _ORDER(
            _NO_ID if source is None else source.bytes,
            _NO_ID if destination is None else destination.bytes,
            order.amount_minor,
            order.currency.code.encode(),
        )
        + sized_word(order.type)
        + sized(order.description)
    ).digest()


def payment_seal(payment: Payment, *, fingerprint: bytes) -> bytes:
    """Over every column of a payment."""
    failure = payment.failure
    reason = (
        _NO_REASON
        if failure is None
        else sized(failure.code) + sized(failure.message) + sized(details(failure))
    )
    return sha256(
        _PAYMENT(
            payment.id.bytes,
            payment.order.caller_id.bytes,
            shared_epoch_microseconds(payment.created_at),
            fingerprint,
        )
        + sized_word(payment.status)
        + sized(payment.order.key)
        + reason
        + _effective(payment.order)
    ).digest()


def _effective(order: PaymentOrder) -> bytes:
    """Nothing for a payment that counts when it is recorded, as nearly all do."""
    return b"" if order.effective_at is None else _MOMENT(epoch_microseconds(order.effective_at))


def details(failure: Refusal) -> str:
    """The details of a refusal as the JSON text that is stored."""
    return msgspec.json.encode(failure.details).decode()
