"""What audit hears: everything, and of whom it has to be silent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from guilder.audit.service.erase_person import ErasePerson
from guilder.audit.service.keep_records import KeepRecords
from guilder.identity.events.staff import UserErased
from guilder.platform.bus import Event, Subscription
from guilder.platform.db import Tx

GROUP: Final = "audit.records"
_ERASURES: Final = "audit.erasures"


def subscriptions(keep: KeepRecords, erasing: ErasePerson) -> tuple[Subscription, ...]:
    """Every event becomes a record, and whoever is erased elsewhere is erased here."""

    async def erase(tx: Tx, events: Sequence[Event]) -> None:
        for event in events:
            person_id = UUID(event.data["user_id"])
            await erasing.erase_with(tx, person_id, reason=str(event.data["reason"]))

    return (
        Subscription(group=GROUP, types=None, hear=keep.hear),
        Subscription(group=_ERASURES, types=frozenset({UserErased.TYPE}), hear=erase),
    )
