"""Every event becomes one record. A batch costs three round trips, whatever its size."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from msgspec import Struct

from guilder.audit.domain import Draft, action_of, parted, placed, subject_of
from guilder.audit.events import AccessDenied
from guilder.audit.service.vault import Vault, persons_in, sealed
from guilder.audit.store import records
from guilder.platform import failpoints
from guilder.platform.bus import Event
from guilder.platform.db import Tx
from guilder.platform.envelopes import SealingKey

BEFORE_COMMIT: Final = failpoints.declare(
    "audit.before_commit", "A batch of events has its records, which are not yet committed."
)


class _Parts(Struct, frozen=True, kw_only=True):
    """An event's data, what is personal in it apart. ``sealed`` is encrypted already.

    ``subject`` is given where the data does not name it.
    """

    data: Mapping[str, Any]
    person_id: UUID | None = None
    personal: Mapping[str, Any] | None = None
    sealed: bytes | None = None
    subject: str | None = None


class KeepRecords:
    """Turns batches of events into records, in the transaction in which they are heard."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def hear(self, tx: Tx, events: Sequence[Event]) -> None:
        """Record each event that has no record yet, in the order in which they are given.

        Raises:
            TryAgain: another process recorded one of them just now.
        """
        by_id = {event.id: event for event in events}
        there = await records.known(tx, by_id)
        new = [event for event in by_id.values() if event.id not in there]
        if not new:
            return
        drafts = await self._drafts(tx, new)
        # as late as can be: from here to the commit the chain is nobody else's
        head = await records.lock_chain(tx)
        written = placed(
            drafts,
            chain=head.chain,
            sequence=head.sequence,
            previous=head.hash,
            recorded_at=head.now,
        )
        await records.append(tx, written, head=head)
        await failpoints.reach(BEFORE_COMMIT)

    async def _drafts(self, tx: Tx, events: Sequence[Event]) -> list[Draft]:
        parts = [self._parts(event) for event in events]
        wanted = persons_in(part.person_id for part in parts if part.personal is not None)
        keys = await self._vault.keys_of(tx, wanted)
        return [_draft(event, part, keys) for event, part in zip(events, parts, strict=True)]

    def _parts(self, event: Event) -> _Parts:
        """What is personal in an event: its member ``personal``, and what others have sealed.

        That is sealed once more, so that it is erased with the person whoever has the first key.
        """
        data = event.data
        if event.type == AccessDenied.TYPE:
            return _of_denial(data)
        personal, foreign = data.get("personal"), data.get("sealed")
        found = dict(personal) if isinstance(personal, Mapping) else {}
        if isinstance(foreign, str):
            found["sealed"] = foreign
        if not found:
            return _Parts(data=data)
        rest = {name: value for name, value in data.items() if name not in {"personal", "sealed"}}
        return _Parts(data=rest, person_id=self._person_of(event), personal=found)

    def _person_of(self, event: Event) -> UUID:
        """Whose it is: who the event names, or else who acted, or else a name for its subject."""
        for name in ("person_id", "user_id"):
            named = _uuid(event.data.get(name))
            if named is not None:
                return named
        return event.origin.actor_id or self._vault.pseudonym(event.key)


def _draft(event: Event, part: _Parts, keys: Mapping[UUID, SealingKey]) -> Draft:
    before, after, details = parted(part.data)
    personal = part.sealed
    key = None if part.person_id is None else keys.get(part.person_id)
    if part.personal is not None and key is not None:
        personal = sealed(part.personal, key=key, record=event.id)
    return Draft(
        event_id=event.id,
        actor_id=event.origin.actor_id,
        action=action_of(event.type),
        subject=part.subject or subject_of(event.type, event.key, part.data),
        key=event.key,
        request_id=event.origin.request_id,
        trace_id=event.origin.trace_id,
        created_at=event.time,
        before=before,
        after=after,
        details=details,
        person_id=part.person_id,
        personal=personal,
    )


def _of_denial(data: Mapping[str, Any]) -> _Parts:
    rest = {name: value for name, value in data.items() if name not in {"sealed", "person_id"}}
    stored = data.get("sealed")
    return _Parts(
        data=rest,
        person_id=_uuid(data.get("person_id")),
        sealed=b64decode(stored) if isinstance(stored, str) else None,
        subject=f"{data.get('method')} {data.get('route')}",
    )


def _uuid(value: object) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None
