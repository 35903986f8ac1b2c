"""How the ledger's own use cases act: the change and what is told of it are one commit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from guilder.platform import outbox
from guilder.platform.db import Database, Tx

Result = TypeVar("Result")
Act = Callable[[Tx], Awaitable[tuple[Result, Sequence[outbox.Outgoing]]]]
"""Makes a change and answers it, with the events that tell of it."""


async def perform(db: Database, act: Act[Result]) -> Result:
    """Do ``act`` in a transaction of its own, and write its events there.

    Raises:
        Refusal: the act was refused; nothing of it is kept.
    """

    async def work(tx: Tx) -> Result:
        result, events = await act(tx)
        await outbox.append(tx, events)
        return result

    return await db.run(work)
