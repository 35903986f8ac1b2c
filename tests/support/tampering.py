"""Edits rows as a superuser who switched the guards off, one column at a time, and undoes it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import asyncpg

from guilder.platform.checks import Check, Finding

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_EDITS: Final = {
    "uuid": ("gen_random_uuid()",),
    "bigint": ("{c} + 1", "COALESCE({c}, 0) - 1", "17"),
    "integer": ("{c} + 1",),
    "smallint": ("{c} + 1",),
    "text": ("{c} || 'x'", "{alternative}"),
    "timestamp with time zone": ("COALESCE({c}, now()) + interval '1 second'",),
    "bytea": ("sha256(COALESCE({c}, ''::bytea))",),
    "json": ("'[]'", "'{{\"a\": 1}}'"),
    "jsonb": ("'{{\"edited\": true}}'",),
    "boolean": ("NOT {c}",),
    "ARRAY": ("array['edited']",),
    "date": ("{c} + 1",),
}
_COLUMNS: Final = """
    SELECT column_name, data_type FROM information_schema.columns
    WHERE table_schema = $1 AND table_name = $2 ORDER BY ordinal_position
"""
_CHOICES: Final = """
    SELECT substring(pg_get_constraintdef(oid) FROM 'ARRAY\\[(.*)\\]') FROM pg_constraint
    WHERE conrelid = $1::regclass AND contype = 'c'
      AND pg_get_constraintdef(oid) LIKE '%((' || $2 || ' = ANY%'
"""


@asynccontextmanager
async def edited(
    superuser: Connection, table: str, *, column: str, edit: str, row: str
) -> AsyncIterator[bool]:
    """One row of ``table`` edited, guards and constraints off, until the block ends.

    Gives whether that changed anything: an edit that a constraint or type refuses changes nothing.
    """
    transaction = superuser.transaction()
    await transaction.start()
    try:
        await superuser.execute("SET LOCAL session_replication_role = replica")
        try:
            changed = await superuser.fetchval(
                f"WITH done AS (UPDATE {table} SET {column} = {edit} "
                f"WHERE ctid = '{row}' AND {column}::text IS DISTINCT FROM ({edit})::text "
                "RETURNING 1) SELECT count(*) FROM done"
            )
        except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError):
            await transaction.rollback()
            transaction = superuser.transaction()
            await transaction.start()
            changed = 0
        yield bool(changed)
    finally:
        await transaction.rollback()


async def edits_of(superuser: Connection, table: str) -> list[tuple[str, str]]:
    """Every ``(column, expression)`` by which a row of ``table`` can be edited."""
    schema, _, name = table.partition(".")
    found = []
    for column, data_type in await superuser.fetch(_COLUMNS, schema, name):
        listed = await superuser.fetchval(_CHOICES, table, column)
        if listed:
            choices = [choice.split("::")[0].strip() for choice in listed.split(", ")]
            found += [(column, choice) for choice in choices]
            continue
        for edit in _EDITS[data_type]:
            if "{alternative}" not in edit:
                found.append((column, edit.format(c=column)))
    return found


async def rows_of(superuser: Connection, table: str, *, limit: int = 1000) -> Sequence[str]:
    """Where the rows of ``table`` lie."""
    return [
        row[0] for row in await superuser.fetch(f"SELECT ctid::text FROM {table} LIMIT {limit}")
    ]


async def findings_of(superuser: Connection, checks: Sequence[Check]) -> list[Finding]:
    """What the checks find inside the open transaction, an edit in it included."""
    found: list[Finding] = []
    for check in checks:
        inner = superuser.transaction()
        await inner.start()
        try:
            found += await check.find(superuser)
        except (asyncpg.DataError, LookupError, ValueError) as error:
            found.append(
                Finding(table=check.table, row="", invariant=check.invariant, detail=str(error))
            )
        finally:
            await inner.rollback()
    return found
