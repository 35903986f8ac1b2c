"""Published heads: signed by us, complete, and each a prefix of what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from guilder.audit.api import LedgerHeads
from guilder.audit.store.data_keys import erased
from guilder.audit.store.heads_keys import HeadsKeys
from guilder.audit.store.publications import (
    Forged,
    HeadsFolder,
    LedgerPeriod,
    Publication,
    digest_of,
    name_of,
    opened,
)
from guilder.platform.checks import MOST_FINDINGS, Check, Finding
from guilder.platform.db import Tx
from guilder.platform.erasures import ErasureList

_SIGNED: Final = "publications are signed by this installation and follow one another"
_AUDIT: Final = "every published head of an audit chain is still in it"
_LEDGER: Final = "the ledger's accounts are, up to each publication, as they were published"
_ERASED: Final = "whoever is on the list of erasures has no key"

_MISSING: Final = f"""
    SELECT h.chain || ':' || h.sequence AS row,
        CASE WHEN r.hash IS NULL THEN format('publication %s names it, and it is gone', h.number)
            ELSE format('publication %s names it with another hash', h.number) END AS detail
    FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::text[])
        AS h(number, chain, sequence, hash)
    LEFT JOIN audit.records r ON r.chain = h.chain AND r.sequence = h.sequence
    WHERE encode(r.hash, 'hex') IS DISTINCT FROM h.hash
    LIMIT {MOST_FINDINGS}
"""


class _Read(Struct, kw_only=True):
    good: list[Publication]
    findings: list[Finding]


class HeadsChecks:
    """Compares the database with one folder's publications."""

    def __init__(self, folder: HeadsFolder, *, keys: HeadsKeys, ledger: LedgerHeads) -> None:
        self._folder = folder
        self._keys = keys
        self._ledger = ledger
        self._erasures = ErasureList(folder.path)
        self._known: dict[bytes, Publication] = {}

    def checks(self) -> tuple[Check, ...]:
        """All of them; they find nothing where nothing was published."""
        return (
            Check(name="publications", table="heads", invariant=_SIGNED, find=self._signed),
            Check(name="audit heads", table="audit.records", invariant=_AUDIT, find=self._audit),
            Check(name="ledger heads", table="ledger.entries", invariant=_LEDGER, find=self._books),
            Check(name="erasures", table="audit.data_keys", invariant=_ERASED, find=self._erased),
        )

    async def _signed(self, tx: Tx) -> Sequence[Finding]:  # noqa: ARG002 - a check's shape
        return (await self._read()).findings[:MOST_FINDINGS]

    async def _audit(self, tx: Tx) -> Sequence[Finding]:
        named = [(p.number, head) for p in (await self._read()).good for head in p.audit]
        rows = await tx.fetch(
            _MISSING,
            [number for number, _ in named],
            [head.chain for _, head in named],
            [head.sequence for _, head in named],
            [head.hash for _, head in named],
        )
        return [
            Finding(table="audit.records", row=row["row"], invariant=_AUDIT, detail=row["detail"])
            for row in rows
        ]

    async def _books(self, tx: Tx) -> Sequence[Finding]:
        published = [(p.number, p.ledger) for p in (await self._read()).good if p.ledger]
        if not published:
            return []
        limits = _limits([period for _, period in published])
        stored = await self._ledger.of_periods(tx, limits)
        follows = dict(zip(limits[1:], limits, strict=False))
        return [
            Finding(
                table="ledger.entries",
                row=f"recorded from {period.since or 'the beginning'} to {period.until}",
                invariant=_LEDGER,
                detail=f"publication {number} says {period.accounts} accounts and digest "
                f"{period.digest[:16]}; now {accounts} and {digest.hex()[:16]}",
            )
            for number, period in published
            if follows[period.until] == period.since
            for accounts, digest in [stored[period.until]]
            if (accounts, digest.hex()) != (period.accounts, period.digest)
        ][:MOST_FINDINGS]

    async def _erased(self, tx: Tx) -> Sequence[Finding]:
        listed = {line.person_id for line in self._erasures.read()}
        return [
            Finding(
                table="audit.data_keys",
                row=str(person_id),
                invariant=_ERASED,
                detail="it is readable again; the worker erases it anew",
            )
            for person_id in sorted(listed - await erased(tx, listed))
        ][:MOST_FINDINGS]

    async def _read(self) -> _Read:
        read = _Read(good=[], findings=[])
        before: tuple[str, bytes] | None = None
        for name, text in self._folder.texts():
            try:
                publication = self._opened(text)
            except Forged as problem:
                read.findings.append(_finding(name, str(problem)))
            else:
                read.good.append(publication)
                wrong = _misplaced(publication, name=name, before=before)
                read.findings += [_finding(name, wrong)] if wrong else []
            before = (name, text)
        return read

    def _opened(self, text: bytes) -> Publication:
        """Each signature is verified once, however many checks ask."""
        if text not in self._known:
            self._known[text] = opened(text, keys=self._keys)
        return self._known[text]


def _misplaced(
    publication: Publication, *, name: str, before: tuple[str, bytes] | None
) -> str | None:
    """What is wrong with where a publication stands. Old ones may have been moved elsewhere."""
    if name != name_of(publication.number):
        return f"it is publication {publication.number}"
    if before is None:
        return None
    if before[0] != name_of(publication.number - 1):
        return "the publication before it is missing"
    if publication.previous != digest_of(before[1]):
        return "the publication before it is another than it names"
    return None


def _limits(periods: Sequence[LedgerPeriod]) -> list[datetime | None]:
    """Where periods begin or end, ascending; None, the beginning, first."""
    times = {period.until for period in periods}
    times |= {period.since for period in periods if period.since is not None}
    first: list[datetime | None] = [None] if any(p.since is None for p in periods) else []
    return [*first, *sorted(times)]


def _finding(name: str, detail: str) -> Finding:
    return Finding(table="heads", row=name, invariant=_SIGNED, detail=detail)
