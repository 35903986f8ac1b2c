"""Denied attempts become events, in bounded batches: a flood of them is counted, not written.

What is personal in one is encrypted before it leaves the process, so it lies readable neither in
the outbox nor on any bus.
"""

from __future__ import annotations

import asyncio
import contextlib
from base64 import b64encode
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, Protocol
from uuid import UUID

import msgspec
import structlog
from msgspec import Struct

from guilder.audit.events import AccessDenied, DenialsDropped
from guilder.audit.service.vault import Vault, persons_in, sealed
from guilder.kernel.ids import EventId
from guilder.platform import outbox
from guilder.platform.db import Database, Tx
from guilder.platform.denials import Denial
from guilder.platform.envelopes import SealingKey
from guilder.platform.households import household_of
from guilder.platform.identifiers import new_id
from guilder.platform.origin import NOWHERE
from guilder.platform.outbox import Outgoing

_log = structlog.get_logger("guilder.audit")
_PAUSE_S: Final = 1.0
_LONGEST_ADDRESS: Final = 64
_LONGEST_NAME: Final = 254
_SHARE: Final = 4
"""One household may fill one part in so many of the queue; the rest is for others."""


class Counts(Protocol):
    """Where denials are counted, for whoever watches."""

    def kept(self, count: int) -> None:
        """So many were written."""
        ...

    def dropped(self, count: int) -> None:
        """So many were only counted."""
        ...


class _Noted(Struct, frozen=True, kw_only=True):
    id: EventId
    denied_at: datetime
    denial: Denial


class _Dropped(Struct, kw_only=True):
    count: int = 0
    since: datetime | None = None


class DenialRecorder:
    """Keeps up to ``per_second`` denials a second in this process, and counts the others."""

    def __init__(
        self,
        db: Database,
        *,
        vault: Vault,
        counts: Counts,
        per_second: int,
        pause_s: float = _PAUSE_S,
    ) -> None:
        self._db = db
        self._vault = vault
        self._counts = counts
        self._most = per_second
        self._pause_s = pause_s
        self._waiting: deque[_Noted] = deque()
        self._by_household: Counter[str] = Counter()
        self._dropped = _Dropped()
        self._woken = asyncio.Event()
        self._stopping = asyncio.Event()

    def note(self, denial: Denial) -> None:
        """Keep a denial, or count it where too many wait already. Returns at once."""
        now = datetime.now(UTC)
        share = max(1, self._most // _SHARE)
        household = household_of(denial.client_address)
        if len(self._waiting) >= self._most or self._by_household[household] >= share:
            self._drop(now)
        else:
            self._by_household[household] += 1
            self._waiting.append(_Noted(id=EventId(new_id()), denied_at=now, denial=denial))
        self._woken.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write what is noted as long as the block lasts, and what is left at its end."""
        await self._vault.ensure()
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            self._stopping.set()
            self._woken.set()
            await task

    async def write(self) -> int:
        """Write everything that waits as events, in one commit; how many denials.

        Raises:
            Overloaded: the database does not answer; they wait on.
        """
        batch = list(self._waiting)
        dropped = self._dropped
        if not batch and not dropped.count:
            return 0
        self._dropped = _Dropped()
        told = _told(dropped, until=datetime.now(UTC))
        try:
            await self._db.run(lambda tx: self._append(tx, batch, told))
        except BaseException:
            self._dropped.count += dropped.count
            self._dropped.since = dropped.since or self._dropped.since
            raise
        for noted in batch:
            self._waiting.popleft()
            self._forget(household_of(noted.denial.client_address))
        self._counts.kept(len(batch))
        return len(batch)

    async def _run(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            is_last = self._stopping.is_set()
            try:
                await self.write()
            except Exception:  # noqa: BLE001 - what could not be written waits; the next turn tries
                _log.exception("audit.denials_wait", waiting=len(self._waiting))
                self._woken.set()
            if is_last:
                return
            # the pace at which a flood reaches the database
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._pause_s)

    async def _append(self, tx: Tx, batch: Sequence[_Noted], told: Outgoing | None) -> None:
        persons = [self._person_of(noted.denial) for noted in batch]
        keys = await self._vault.keys_of(tx, persons_in(persons))
        events = [_event(n, person_id, keys) for n, person_id in zip(batch, persons, strict=True)]
        await outbox.append(tx, [*events, told] if told is not None else events)

    def _person_of(self, denial: Denial) -> UUID:
        if denial.person_id is not None:
            return denial.person_id
        return self._vault.pseudonym(_cut(denial.claimed) or denial.client_address)

    def _drop(self, now: datetime) -> None:
        self._dropped.count += 1
        self._dropped.since = self._dropped.since or now
        self._counts.dropped(1)

    def _forget(self, household: str) -> None:
        self._by_household[household] -= 1
        if not self._by_household[household]:
            del self._by_household[household]


def _event(noted: _Noted, person_id: UUID, keys: Mapping[UUID, SealingKey]) -> Outgoing:
    denial = noted.denial
    personal: dict[str, Any] = {"client_address": denial.client_address[:_LONGEST_ADDRESS]}
    claimed = _cut(denial.claimed)
    if claimed is not None:
        personal["claimed"] = claimed
    key = keys.get(person_id)
    fact = AccessDenied(
        code=denial.code,
        method=denial.method,
        route=denial.route,
        denied_at=noted.denied_at,
        person_id=person_id,
        sealed=None
        if key is None
        else b64encode(sealed(personal, key=key, record=noted.id)).decode(),
    )
    return Outgoing(
        id=noted.id,
        type=AccessDenied.TYPE,
        key=str(person_id),
        data=msgspec.json.encode(fact).decode(),
        origin=denial.origin,
    )


def _told(dropped: _Dropped, *, until: datetime) -> Outgoing | None:
    if dropped.since is None:
        return None
    fact = DenialsDropped(dropped=dropped.count, since=dropped.since, until=until)
    return outbox.outgoing(fact, key="access", origin=NOWHERE)


def _cut(claimed: str | None) -> str | None:
    """What was claimed, as far as it can be somebody's name; nobody's is that long."""
    return None if claimed is None else claimed.strip()[:_LONGEST_NAME] or None
