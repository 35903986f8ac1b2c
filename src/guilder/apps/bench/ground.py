"""The ground that is measured on: a server of its own with Guilder's tuning, in a folder that goes.

The folder is on a real disk where there is one, because a commit in memory costs nothing.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from guilder.apps.bench.machine import file_system
from guilder.apps.signals import undisturbed
from guilder.platform.db import Database, Limits
from guilder.platform.keys import KeyFolder
from guilder.platform.postgres.access import (
    DATABASE,
    Access,
    create_database,
    embedded_access,
)
from guilder.platform.postgres.folder import SUPERUSER
from guilder.platform.postgres.migrator import migrate
from guilder.platform.postgres.server import EmbeddedPostgres

Report = Callable[[str], None]

_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
_NO_HURRY: Final = Limits(
    statement_ms=0,
    lock_ms=60_000,
    idle_in_transaction_ms=0,
    command_s=3600.0,
    acquire_s=3600.0,
)
_TOLD: Final = (
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "wal_level",
    "data_checksums",
    "shared_buffers",
    "max_wal_size",
    "checkpoint_timeout",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """A running server and the data folder it belongs to."""

    folder: Path
    server: EmbeddedPostgres
    keys: KeyFolder
    database: str = DATABASE

    @property
    def access(self) -> Access:
        """Guilder's own database."""
        return embedded_access(self.server)

    @asynccontextmanager
    async def pool(self, *, connections: int = 10) -> AsyncIterator[Database]:
        """Connections to Guilder's database as those that the application has for payments."""
        db = await Database.connect(
            self.access.url, max_connections=connections, finds_by_index=True, plans_once=True
        )
        try:
            yield db
        finally:
            await db.close()

    @asynccontextmanager
    async def superuser(self, *, database: str = "postgres") -> AsyncIterator[Database]:
        """One connection that may do anything to this server."""
        url = self.server.url(SUPERUSER, database=database)
        db = await Database.connect(url, max_connections=1, limits=_NO_HURRY)
        try:
            yield db
        finally:
            await db.close()

    async def settle(self) -> None:
        """Write everything to disk, so that a phase does not pay for the one before it."""
        async with self.superuser() as db:
            await db.fetchval("CHECKPOINT")

    async def settings(self) -> dict[str, str]:
        """The server's settings on which figures depend."""
        async with self.superuser() as db:
            return {name: str(await db.fetchval(f"SHOW {name}")) for name in _TOLD}

    async def prepare(self, *, report: Report) -> None:
        """Make Guilder's database and its signing key."""
        await create_database(self.server)
        await migrate(self.access.target, report=report)
        self.keys.ensure()


@contextmanager
def own_ground(*, inside: Path | None, report: Report) -> Iterator[Ground]:
    """A server in a new folder under ``inside``; both are gone when the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="guilder-bench-", dir=inside or _disk()))
    server = EmbeddedPostgres(folder, report=report)
    try:
        server.start()
        yield Ground(folder=folder, server=server, keys=KeyFolder(folder / "keys"))
    finally:
        with undisturbed():
            server.stop()
            shutil.rmtree(folder, ignore_errors=True)


def _disk() -> Path:
    usual = Path(tempfile.gettempdir())
    return Path.cwd() if file_system(usual) in _IN_MEMORY else usual
