"""An archive: audit on a real database, with folders of its own, heard from by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from prometheus_client import CollectorRegistry

from guilder.audit.api import Filters, Published, RecordView
from guilder.audit.jobs import DenialCounts
from guilder.audit.module import Folders, build, build_erasing, build_publishing
from guilder.audit.service.keep_records import KeepRecords
from guilder.audit.service.publish_heads import PublishHeads
from guilder.audit.service.read_records import ReadRecords
from guilder.audit.service.record_denials import DenialRecorder
from guilder.audit.store.publications import HeadsFolder
from guilder.kernel.ids import EventId, UserId
from guilder.ledger.module import build_heads
from guilder.platform.bus import Bus, Event
from guilder.platform.checks import Check, Finding, run_checks
from guilder.platform.db import Database
from guilder.platform.identifiers import new_id
from guilder.platform.module import Module
from guilder.platform.origin import Origin


@dataclass
class Archive:
    """Audit wired to one database and to the folders under ``home``."""

    db: Database
    home: Path
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        self.folders = Folders(keys=self.home / "keys", heads=self.home / "heads")
        self.vault = self.folders.vault()
        self.keep = KeepRecords(self.vault)
        self.reading = ReadRecords(self.db, vault=self.vault)
        self.erasing = build_erasing(db=self.db, folders=self.folders)
        self.publishing: PublishHeads = build_publishing(
            db=self.db, ledger=build_heads(), folders=self.folders
        )
        self.heads = HeadsFolder(self.folders.heads)
        self.module: Module = build(
            db=self.db, ledger=build_heads(), folders=self.folders, registry=self.registry
        )

    @property
    def checks(self) -> tuple[Check, ...]:
        return self.module.checks

    async def hear(self, *events: Event) -> None:
        """What the bus does with a batch."""
        await self.db.run(lambda tx: self.keep.hear(tx, events))

    async def catch_up(self) -> None:
        """Record everything that the outbox holds."""
        bus = Bus(self.db, self.module.subscriptions)
        await bus.join()
        while await bus.deliver(self.module.subscriptions[0]):
            pass

    async def find(self, *, limit: int = 200, **filters: Any) -> list[RecordView]:
        return await self.reading.page(Filters(**filters), after=None, limit=limit)

    async def find_of(self, event: Event) -> RecordView:
        (found,) = [view for view in await self.find(subject=event.key) if view.id == event.id]
        return found

    async def publish(self) -> Published:
        published = await self.publishing.publish()
        assert published is not None
        return published

    async def findings(self) -> Sequence[Finding]:
        """What `guilder verify` finds of audit."""
        done = await run_checks(self.db, self.checks)
        return [finding for checked in done for finding in checked.findings]

    async def count(self) -> int:
        found: int = await self.db.fetchval("SELECT count(*) FROM audit.records")
        return found

    def denials(self, *, per_second: int = 100, pause_s: float = 0.01) -> DenialRecorder:
        """What keeps denials, in more haste than in a server."""
        return DenialRecorder(
            self.db,
            vault=self.vault,
            counts=DenialCounts(self.registry),
            per_second=per_second,
            pause_s=pause_s,
        )


def event(
    type_: str = "com.guilder.account.frozen",
    *,
    key: str | None = None,
    actor_id: UUID | None = None,
    request_id: str | None = None,
    trace_id: str | None = None,
    time: datetime | None = None,
    **data: Any,
) -> Event:
    """An event as the bus gives it."""
    return Event(
        id=EventId(new_id()),
        type=type_,
        key=str(new_id()) if key is None else key,
        time=time or datetime.now(UTC),
        data=data,
        origin=Origin(None if actor_id is None else UserId(actor_id), request_id, trace_id),
    )
