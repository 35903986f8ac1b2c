"""A feed of revocations that a test writes by hand, and a standing in which nothing was revoked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from guilder.platform.permissions import Definitions
from guilder.platform.standing import Batch, Revocation, Standing


class HandMadeFeed:
    """Answers what it is told to. ``fails`` is raised by reads as long as it is set."""

    def __init__(self) -> None:
        self.horizon = 1
        self.revocations: list[Revocation] = []
        self.defined = Definitions(roles={}, permissions=frozenset())
        self.fails: Exception | None = None
        self.reads = 0
        self.asked_after: list[int] = []
        self.woken = asyncio.Event()
        self.heard_by: list[Callable[[], Awaitable[None]]] = []

    async def read(self, *, after: int) -> Batch:
        self.reads += 1
        self.asked_after.append(after)
        await asyncio.sleep(0)
        if self.fails is not None:
            raise self.fails
        return Batch(horizon=self.horizon, revocations=list(self.revocations))

    async def definitions(self) -> Definitions:
        return self.defined

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[asyncio.Event]:
        yield self.woken

    @contextmanager
    def hearing(self, hear: Callable[[], Awaitable[None]]) -> Iterator[None]:
        self.heard_by.append(hear)
        yield
        self.heard_by.remove(hear)


def nothing_revoked() -> Standing:
    """A standing that is fed with nothing whenever it is asked."""
    return Standing(HandMadeFeed())
