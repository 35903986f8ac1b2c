"""Whether requests can be served: the database answers, is migrated, and keeps what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Final

import structlog

from guilder.platform.db import Database
from guilder.platform.postgres.migrator import pending

_log = structlog.get_logger("guilder.readiness")
_PATIENCE_S: Final = 3.0


class DatabaseReadiness:
    """Asks the database anew each time; an answer that does not come in time is a no."""

    def __init__(self, db: Database, *, accept_no_checksums: bool) -> None:
        self._db = db
        self._accept_no_checksums = accept_no_checksums

    async def __call__(self) -> Mapping[str, bool]:
        """Whether each part that has to work does."""
        names = ("database", "migrations", "durability")
        parts = (self._answers(), self._is_migrated(), self._is_durable())
        results = await asyncio.gather(*(self._holds(part) for part in parts))
        return dict(zip(names, results, strict=True))

    async def _holds(self, part: Awaitable[None]) -> bool:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await part
        except Exception as error:  # noqa: BLE001 - whatever it is, requests cannot be served
            _log.warning("readiness.missing", reason=f"{type(error).__name__}: {error}")
            return False
        return True

    async def _answers(self) -> None:
        await self._db.fetchval("SELECT 1")

    async def _is_durable(self) -> None:
        await self._db.check_durability(accept_no_checksums=self._accept_no_checksums)

    async def _is_migrated(self) -> None:
        missing = [history.context for history in await pending(self._db)]
        if missing:
            raise LookupError(f"to be migrated: {', '.join(missing)}")
