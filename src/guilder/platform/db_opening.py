"""What is done to a database before a pool uses it, who waits for that, and what between uses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from guilder.platform.uncut import uncut


@dataclass(frozen=True, slots=True, kw_only=True)
class First:
    """What is done in a transaction before a pool uses its database, where a look says it is due.

    Both are called with what can query: the look with a new connection, outside any transaction.
    """

    is_due: Callable[[Any], Awaitable[bool]]
    work: Callable[[Any], Awaitable[object]]


class Aside(Protocol):
    """A pool of its own for what is done first."""

    async def run(self, work: Callable[[Any], Awaitable[object]]) -> object:
        """Do it in a transaction."""
        ...

    async def close(self) -> None:
        """Give its connection back."""
        ...


class Opening:
    """Looks on each new connection of a pool whether something has to be done first.

    It is done once for all who wait, and beside them: whoever has waited for long enough gives up,
    and it goes on. If it fails they are told, and the next connection looks again.
    """

    def __init__(self, first: First, *, aside: Callable[[], Awaitable[Aside]]) -> None:
        self._first = first
        self._aside = aside
        self._working: asyncio.Task[None] | None = None

    async def __call__(self, connection: Any) -> None:
        """Return once the connection can be used: one of the driver's, not yet the pool's."""
        if self._working is None and not await self._first.is_due(connection):
            return
        if self._working is None:
            self._working = asyncio.create_task(self._do())
        await uncut(self._working)

    async def close(self) -> None:
        """End what is being done: nobody will use the pool."""
        working = self._working
        if working is not None:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    async def _do(self) -> None:
        try:
            aside = await self._aside()
            try:
                await aside.run(self._first.work)
            finally:
                await aside.close()
        finally:
            self._working = None


async def leave_as_it_is(_: object) -> None:
    """What a session needs between uses: nothing.

    Work leaves only what its transaction did, which the driver has ended by now; whoever listens or
    holds a lock of the session closes it afterwards. The driver's own answer is a message with four
    statements, a third of what a small read costs.
    """
