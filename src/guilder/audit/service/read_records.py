"""Records as staff read them, with what is personal in them as long as it is readable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from guilder.audit.api import Filters, PersonalState, Place, RecordView
from guilder.audit.service.vault import Vault, persons_in, readable
from guilder.audit.store import records
from guilder.kernel.ids import EventId
from guilder.platform.db import Database, Row
from guilder.platform.envelopes import SealingKey, Unreadable


class ReadRecords:
    """Looks records up."""

    def __init__(self, db: Database, *, vault: Vault) -> None:
        self._db = db
        self._vault = vault

    async def page(self, filters: Filters, *, after: Place | None, limit: int) -> list[RecordView]:
        """Records that match all of ``filters``, newest first, from after a place."""
        async with self._db.snapshot() as tx:
            rows = await records.page(tx, filters, after=after, limit=limit)
            persons = persons_in(row["person_id"] for row in rows if row["personal"] is not None)
            keys = await self._vault.existing_keys_of(tx, persons)
        return [_view(row, keys) for row in rows]


def _view(row: Row, keys: Mapping[UUID, SealingKey]) -> RecordView:
    state, personal = _personal(row, keys)
    return RecordView(
        id=EventId(row["event_id"]),
        actor_id=row["actor_id"],
        action=row["action"],
        subject=row["subject"],
        key=row["key"],
        created_at=row["created_at"],
        recorded_at=row["recorded_at"],
        request_id=row["request_id"],
        trace_id=row["trace_id"],
        before=_object(row["before"]),
        after=_object(row["after"]),
        details=_object(row["details"]) or {},
        person_id=row["person_id"],
        personal=personal,
        personal_state=state,
        chain=row["chain"],
        sequence=row["sequence"],
        hash=row["hash"],
    )


def _personal(
    row: Row, keys: Mapping[UUID, SealingKey]
) -> tuple[PersonalState, Mapping[str, Any] | None]:
    stored, person_id = row["personal"], row["person_id"]
    if person_id is None and stored is None:
        return PersonalState.NONE, None
    key = keys.get(person_id)
    if stored is None or key is None:
        return PersonalState.ERASED, None
    try:
        return PersonalState.READABLE, readable(stored, key=key, record=row["event_id"])
    except Unreadable:
        return PersonalState.DAMAGED, None


def _object(text: str | None) -> Mapping[str, Any] | None:
    return None if text is None else msgspec.json.decode(text, type=dict[str, Any])
