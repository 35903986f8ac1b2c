"""Tells whoever listens that something has committed, after the commit and by another connection.

PostgreSQL lets transactions that notify commit one at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import asyncpg

_NOTIFY: Final = "SELECT pg_notify(channel, '') FROM unnest($1::text[]) AS channel"
_EVERY_S: Final = 0.02


class Notifier:
    """Notifies channels on a connection that does nothing else meanwhile, not too often."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._pool = pool
        self._due: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def notify(self, channels: set[str]) -> None:
        """Notify these channels soon. It can be lost."""
        self._due |= channels
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._send())

    async def close(self) -> None:
        """Return once what is due was notified."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _send(self) -> None:
        while self._due:
            channels, self._due = sorted(self._due), set()
            with contextlib.suppress(
                asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError
            ):
                await self._pool.execute(_NOTIFY, channels)
            await asyncio.sleep(_EVERY_S)
