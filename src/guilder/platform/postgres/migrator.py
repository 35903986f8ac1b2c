"""Brings a database to the schema this code needs: roles, schemas, then each context's history.

A context's history is its folder ``migrations``: alembic revisions ``v0001_<what>.py`` of plain
SQL. Each revision is one transaction, done as ``guilder_owner``, with a limit on how long it may
wait for a lock. Several processes may migrate at once; one does, the others wait. When nothing is
to be done, only a version number per context is read.
"""

from __future__ import annotations

import asyncio
import importlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import asyncpg

from guilder.platform import failpoints
from guilder.platform.postgres.roles import OWNER, Connection, context_role, prepare_roles
from guilder.platform.startup import CannotStart

BEFORE_COMMIT: Final = failpoints.declare(
    "migrate.before_commit", "A revision has run in its transaction, which is not yet committed."
)
Report = Callable[[str], None]

SOURCE: Final = Path(__file__).parents[2]
"""Where the contexts are: the folder of the package ``guilder``."""
_FIRST: Final = ("platform", "identity", "customers", "ledger", "wallets", "fx", "risk", "payments")
"""Migrated in this order, then the others by name: a view may look down the map, never up."""
_LOCK_KEY: Final = 0x6775696C646572
_LOCK_TIMEOUT_MS: Final = 5_000
_ATTEMPTS: Final = 12


class WrongHistory(CannotStart):
    """The database's version is not one of this code's: it was migrated by a newer Guilder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The revisions of one context, oldest first."""

    context: str
    folder: Path
    revisions: tuple[str, ...]

    @property
    def newest(self) -> str:
        return self.revisions[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A database to migrate. The URLs may be the same; ``passwords`` are set for their roles."""

    admin_url: str
    """Of a user who may make roles and schemas, or for whom these were made already."""
    migrator_url: str
    """Of a member of ``guilder_owner``."""
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)


def histories(source: Path = SOURCE) -> tuple[History, ...]:
    """The history of each context that has one, in the order they are migrated."""
    found = []
    for folder in source.glob("*/migrations"):
        revisions = tuple(sorted(file.stem.split("_")[0] for file in folder.glob("v[0-9]*.py")))
        if revisions:
            found.append(History(context=folder.parent.name, folder=folder, revisions=revisions))
    return tuple(sorted(found, key=_place))


class Readable(Protocol):
    """Whatever queries can be put to: a connection, or a pool of them."""

    async def fetch(self, query: str, *args: Any) -> Sequence[Any]:
        """The rows of one query."""
        ...


async def pending(connection: Readable, *, source: Path = SOURCE) -> tuple[History, ...]:
    """The histories whose newest revision this database does not have yet.

    Raises:
        WrongHistory: the database is newer than this code.
    """
    wanted = histories(source)
    versions = await _versions(connection, [history.context for history in wanted])
    for history in wanted:
        version = versions.get(history.context)
        if version is not None and version not in history.revisions:
            raise WrongHistory(
                f"the database is newer than this Guilder: {history.context} is at {version}, "
                f"and this code ends at {history.newest}"
            )
    return tuple(h for h in wanted if versions.get(h.context) != h.newest)


async def is_current(url: str, *, source: Path = SOURCE) -> bool:
    """Whether nothing is to be migrated, as any user who may read the version tables sees it.

    Raises:
        WrongHistory: the database is newer than this code.
    """
    connection = await asyncpg.connect(url)
    try:
        return not await pending(connection, source=source)
    finally:
        await connection.close()


async def migrate(target: Target, *, report: Report, source: Path = SOURCE) -> int:
    """Do everything that is pending, and return how many revisions were run.

    Raises:
        RolesMissing: roles are missing and the user may not make them.
        WrongHistory: the database is newer than this code.
    """
    admin = await asyncpg.connect(target.admin_url, server_settings={"statement_timeout": "0"})
    try:
        await admin.execute(f"SELECT pg_advisory_lock({_LOCK_KEY})")
        contexts = [history.context for history in histories(source)]
        await prepare_roles(admin, contexts=contexts, passwords=target.passwords)
        return await _run_pending(target.migrator_url, report=report, source=source)
    finally:
        await admin.close()


async def downgrade(url: str, *, context: str, report: Report, source: Path = SOURCE) -> int:
    """Undo every revision of ``context``, newest first, and return how many. Data is lost."""
    history = next(h for h in histories(source) if h.context == context)
    connection = await _connect(url)
    try:
        version = (await _versions(connection, [context])).get(context)
        if version is None:
            return 0
        steps = _revisions().downgrades(history.folder, schema=context, since=version)
        done = await _run(connection, history, steps, report=report)
        await connection.execute(f"DROP TABLE {context}.alembic_version")
        return done
    finally:
        await connection.close()


async def _run_pending(url: str, *, report: Report, source: Path) -> int:
    connection = await _connect(url)
    try:
        count = 0
        for history in await pending(connection, source=source):
            version = (await _versions(connection, [history.context])).get(history.context)
            steps = _revisions().upgrades(history.folder, schema=history.context, since=version)
            count += await _run(connection, history, steps, report=report)
        return count
    finally:
        await connection.close()


async def _connect(url: str) -> Connection:
    return await asyncpg.connect(
        url,
        server_settings={
            "role": OWNER,
            "statement_timeout": "0",
            "lock_timeout": str(_LOCK_TIMEOUT_MS),
            "synchronous_commit": "on",
        },
    )


async def _run(
    connection: Connection, history: History, steps: Sequence[Any], *, report: Report
) -> int:
    for step in steps:
        await _run_patiently(connection, sql=step.sql, context=history.context)
        report(f"{history.context} {step.revision}: {step.meaning.splitlines()[0]}")
    return len(steps)


async def _run_patiently(connection: Connection, *, sql: str, context: str) -> None:
    """Run one revision; when the lock it needs is busy, let those who wait behind it pass first."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            async with connection.transaction():
                await connection.execute(sql)
                await connection.execute(
                    f"GRANT SELECT ON {context}.alembic_version TO {context_role(context)}"
                )
                await failpoints.reach(BEFORE_COMMIT)
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            if attempt == _ATTEMPTS:
                raise
            await asyncio.sleep(random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
        else:
            return


async def _versions(connection: Readable, contexts: Sequence[str]) -> dict[str, str]:
    """The revision each of ``contexts`` is at; one that was never migrated is left out."""
    there = await connection.fetch(
        "SELECT schemaname FROM pg_tables "
        "WHERE tablename = 'alembic_version' AND schemaname = ANY($1::text[])",
        list(contexts),
    )
    if not there:
        return {}
    rows = await connection.fetch(
        " UNION ALL ".join(
            f"SELECT '{row[0]}' AS context, version_num FROM {row[0]}.alembic_version"  # noqa: S608 - names of our own folders
            for row in there
        )
    )
    return {row["context"]: row["version_num"] for row in rows}


def _place(history: History) -> tuple[int, str]:
    first = history.context in _FIRST
    return (_FIRST.index(history.context) if first else len(_FIRST), history.context)


def _revisions() -> Any:
    # half a second that a start with nothing to migrate does not pay
    return importlib.import_module("guilder.platform.postgres.revisions")
