"""Checks: what must be true of the database, recomputed from its rows in one snapshot.

A context says what must be true of its tables as a tuple of `Check`; its module hands them out,
and ``guilder verify`` runs those of every context. A check finds nothing on a healthy database.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from guilder.platform.db import UNREADABLE, Database, Tx, savepoint

MOST_FINDINGS: Final = 20
"""How many findings of one check are reported; one is enough to act on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A row that contradicts an invariant. ``row`` is its key as text."""

    table: str
    row: str
    invariant: str
    detail: str


# Whole tables are joined and sorted; that is done in memory where it fits.
_ROOM: Final = "SET LOCAL work_mem = '128MB'"

Find = Callable[[Tx], Awaitable[Sequence[Finding]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that must be true. ``find`` answers the first rows for which it is not."""

    name: str
    table: str
    invariant: str
    find: Find


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What one check found, and how long that took."""

    check: Check
    findings: tuple[Finding, ...]
    took_s: float


def sql_check(name: str, *, table: str, invariant: str, query: str) -> Check:
    """A check by one query, whose rows are ``(row, detail)`` as text for each contradiction."""

    async def find(tx: Tx) -> Sequence[Finding]:
        rows = await tx.fetch(f"SELECT * FROM ({query}) AS found LIMIT {MOST_FINDINGS}")  # noqa: S608 - the query is a constant of the code
        return [
            Finding(table=table, row=row[0] or "", invariant=invariant, detail=row[1] or "")
            for row in rows
        ]

    return Check(name=name, table=table, invariant=invariant, find=find)


async def run_checks(
    db: Database, checks: Iterable[Check], *, report: Callable[[Checked], None] | None = None
) -> list[Checked]:
    """Run checks one after the other, all on the same moment of the database."""
    done = []
    async with db.snapshot() as tx:
        await tx.execute(_ROOM)
        for check in checks:
            began = time.monotonic()
            findings = await _find(tx, check)
            checked = Checked(
                check=check, findings=tuple(findings), took_s=time.monotonic() - began
            )
            done.append(checked)
            if report is not None:
                report(checked)
    return done


async def _find(tx: Tx, check: Check) -> Sequence[Finding]:
    try:
        async with savepoint(tx):
            return await check.find(tx)
    except UNREADABLE as error:
        # an edited value can make the recomputation itself impossible, which is a finding
        detail = f"it cannot be recomputed: {error}"
        return [Finding(table=check.table, row="", invariant=check.invariant, detail=detail)]
