"""Codes on their way to people: sealed wherever they are kept, opened when they are put into words.

A code goes to the one address it was issued for, whatever its reader chose, and into no feed.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from guilder.identity.events import (
    CodeIssued,
    code_place,
)
from guilder.kernel.ids import EventId, UserId
from guilder.notifications.api import Category, Channel, DeliveryId, Undeliverable
from guilder.notifications.domain.notices import CODES, Values
from guilder.notifications.domain.records import Delivery
from guilder.notifications.store import deliveries
from guilder.notifications.store.people import Reader
from guilder.platform import ephemeral
from guilder.platform.db import Tx
from guilder.platform.envelopes import OuterKeys, Unreadable
from guilder.platform.ephemeral import Openable
from guilder.platform.identifiers import new_id

_SEALED: Final = "sealed_code"


def code_deliveries(
    issued: Sequence[tuple[EventId, CodeIssued]],
    *,
    readers: Mapping[UserId, Reader],
    reachable: Collection[Channel],
    now: datetime,
) -> list[deliveries.NewDelivery]:
    """The messages that take codes to their addresses; none for a code that is over."""
    return [
        deliveries.NewDelivery(
            id=DeliveryId(new_id()),
            user_id=code.user_id,
            channel=Channel(code.channel),
            device_id=None,
            template=CODES[code.purpose],
            category=Category.SECURITY,
            data={_SEALED: code.sealed, "at": code.expires_at.isoformat()},
            event_id=event_id,
            due_at=now,
        )
        for event_id, code in issued
        if now < code.expires_at
        and Channel(code.channel) in reachable
        and _has(readers[code.user_id], Channel(code.channel))
    ]


def refuse_late(delivery: Delivery, *, lease_s: float) -> None:
    """Refuse to send a code that is over. The time is that of the claim, by the database.

    Raises:
        Undeliverable: it would be of no use any more.
    """
    if _SEALED in delivery.data:
        now = delivery.due_at - timedelta(seconds=lease_s)
        if now >= datetime.fromisoformat(delivery.data["at"]):
            raise Undeliverable("too_late")


async def openable(tx: Tx, messages: Iterable[Values], *, keys: OuterKeys) -> Openable:
    """What it takes to open the codes in these messages, without those that are over or used."""
    sealed = [_sealed(values) for values in messages if _SEALED in values]
    return await ephemeral.openable(tx, sealed, keys=keys)


def in_clear(values: Values, *, user_id: UserId, codes: Openable) -> Values:
    """The values as they are put into words: with the code where there was a sealed one.

    Raises:
        Undeliverable: the code cannot be opened.
    """
    if _SEALED not in values:
        return values
    try:
        code = codes.open(_sealed(values), at=code_place(user_id)).decode()
    except Unreadable:
        raise Undeliverable("code_unreadable") from None
    return {**{name: value for name, value in values.items() if name != _SEALED}, "code": code}


def _sealed(values: Values) -> bytes:
    try:
        return b64decode(values[_SEALED])
    except ValueError:
        return b""


def _has(reader: Reader, channel: Channel) -> bool:
    return reader.has_email if channel is Channel.EMAIL else reader.has_phone
