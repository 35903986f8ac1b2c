"""Publishes heads: what every chain ended with, signed, in a folder that the database cannot reach.

Whoever owns the database can delete the end of a chain or compute a whole chain anew; neither fits
a head that was published before.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Final

import structlog

from guilder.audit.api import LedgerHeads, Published
from guilder.audit.store import publications, records
from guilder.audit.store.heads_keys import HeadsKeys
from guilder.audit.store.publications import (
    ChainHead,
    Copy,
    HeadsFolder,
    LedgerPeriod,
    Publication,
    digest_of,
    signed,
)
from guilder.platform import failpoints
from guilder.platform.db import Database, Tx

BEFORE_WRITE: Final = failpoints.declare(
    "audit.before_publish", "A publication is signed, and its file is not yet written."
)
_log = structlog.get_logger("guilder.audit")
_LOOKS: Final = 200
_LOOK_EVERY_S: Final = 0.05


class PublishHeads:
    """The `guilder.audit.api.Publishing` of one database and one folder."""

    def __init__(
        self,
        db: Database,
        *,
        folder: HeadsFolder,
        keys: HeadsKeys,
        ledger: LedgerHeads,
        copy: Copy | None = None,
    ) -> None:
        self._db = db
        self._folder = folder
        self._keys = keys
        self._ledger = ledger
        self._copy = copy

    async def publish(self, *, at_most_every_s: float = 0.0) -> Published | None:
        """State all heads, signed, in the folder; None while the last ones are young enough.

        What the copy elsewhere lacks is sent to it in any case. Where nothing has changed since the
        last publication, no new one is made. Several processes may publish at once; they take
        turns.

        Raises:
            KeyUnusable: the key that signs heads is damaged.
            Forged: the newest file in the folder is not a publication of this installation.
            Overloaded: the database does not answer.
            NotCopied: the copy elsewhere could not be brought up to date; the folder is.
        """
        published = await self._publish(at_most_every_s)
        if self._copy is not None:
            await self._copy.send(self._folder)
        return published

    async def _publish(self, at_most_every_s: float) -> Published | None:
        await asyncio.to_thread(self._keys.ensure)
        async with self._folder.locked():
            text = await asyncio.to_thread(self._folder.last)
            last = None if text is None else await asyncio.to_thread(self._opened, text)
            now = datetime.now(UTC)
            if last is not None and at_most_every_s:
                age_s = (now - last.published_at).total_seconds()
                if 0 <= age_s < at_most_every_s:
                    return None
            found = await self._gathered(last, previous=digest_of(text or b""), now=now)
            if last is not None and _is_same(found, last):
                return _published(last, is_new=False)
            key = await asyncio.to_thread(self._keys.signing_key)
            signature = signed(found, key=key)
            await failpoints.reach(BEFORE_WRITE)
            await asyncio.to_thread(self._folder.show, key)
            await asyncio.to_thread(self._folder.write, found.number, signature)
        return _published(found, is_new=True)

    def _opened(self, text: bytes) -> Publication:
        return publications.opened(text, keys=self._keys)

    async def _gathered(
        self, last: Publication | None, *, previous: str, now: datetime
    ) -> Publication:
        since = None if last is None else last.ledger_until
        until = await self._settled_until()
        if until is not None and since is not None and until <= since:
            until = None
        async with self._db.snapshot() as tx:
            heads = await records.heads(tx)
            ledger = await self._period(tx, since, until)
        return Publication(
            number=1 if last is None else last.number + 1,
            published_at=now,
            audit=tuple(
                ChainHead(chain=row["chain"], sequence=row["sequence"], hash=row["hash"].hex())
                for row in heads
            ),
            ledger=ledger,
            ledger_until=since if ledger is None else ledger.until,
            previous=previous,
        )

    async def _period(
        self, tx: Tx, since: datetime | None, until: datetime | None
    ) -> LedgerPeriod | None:
        if until is None:
            return None
        accounts, digest = await self._ledger.of_period(tx, since=since, until=until)
        return LedgerPeriod(since=since, until=until, accounts=accounts, digest=digest.hex())

    async def _settled_until(self) -> datetime | None:
        """A moment before which nothing can be recorded any more; None: a writer takes too long."""
        now, transaction = await self._db.run(publications.horizon)
        for _ in range(_LOOKS):
            if await self._db.run(lambda tx: publications.has_passed(tx, transaction)):
                return now
            await asyncio.sleep(_LOOK_EVERY_S)
        _log.warning("audit.ledger_not_settled", since=now.isoformat())
        return None


def _is_same(found: Publication, last: Publication) -> bool:
    moved = found.ledger is not None and found.ledger.accounts > 0
    return found.audit == last.audit and not moved


def _published(publication: Publication, *, is_new: bool) -> Published:
    return Published(
        number=publication.number,
        is_new=is_new,
        records=sum(head.sequence for head in publication.audit),
        accounts=0 if publication.ledger is None else publication.ledger.accounts,
        covers_ledger=publication.ledger is not None,
    )
