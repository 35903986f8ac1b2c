"""Lets every process know what has ended before its time, and forgets it once nothing can be older.

This is what feeds `guilder.platform.standing.Standing`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager

from guilder.identity.store import revocations
from guilder.platform.db import Database
from guilder.platform.permissions import Definitions
from guilder.platform.standing import CHANNEL, Batch


class Revocations:
    """The `guilder.platform.standing.Feed` of the one database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def read(self, *, after: int) -> Batch:
        """What was revoked in the transaction numbered ``after`` and in later ones."""
        async with self._db.reading() as tx:
            return await revocations.read(tx, after=after)

    async def definitions(self) -> Definitions:
        """What roles grant now."""
        async with self._db.reading() as tx:
            return await revocations.definitions(tx)

    def listening(self) -> AbstractAsyncContextManager[asyncio.Event]:
        """An event that is set whenever any process has revoked something; it may be lost."""
        return self._db.listen(CHANNEL)

    def hearing(self, hear: Callable[[], Awaitable[None]]) -> AbstractContextManager[None]:
        """Calls ``hear`` after each commit of this process that revoked something."""
        return self._db.hearing(CHANNEL, hear)

    async def purge(self) -> int:
        """Forget what no token can be older than; how much that was."""
        return await self._db.run(revocations.purge)
