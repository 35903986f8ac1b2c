"""How the ledger's own use cases act: the change and what is told of it are one commit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from guilder.platform import failpoints, outbox
from guilder.platform.db import Database, Tx
from guilder.platform.once import run_once

CHANGED: Final = failpoints.declare(
    "ledger.changed", "an act of the ledger is written, what is told of it is not"
)
BEFORE_COMMIT: Final = failpoints.declare(
    "ledger.before_commit", "an act of the ledger and its events are written, not committed"
)
AFTER_COMMIT: Final = failpoints.declare(
    "ledger.after_commit", "an act of the ledger is committed, nobody is answered yet"
)

Result = TypeVar("Result")
Act = Callable[[Tx], Awaitable[tuple[Result, Sequence[outbox.Outgoing]]]]
"""Makes a change and answers it, with the events that tell of it."""


async def perform(db: Database, act: Act[Result]) -> Result:
    """Do ``act`` in a transaction of its own, and write its events there.

    Raises:
        Refusal: the act was refused; nothing of it is kept.
    """

    async def work(tx: Tx) -> tuple[Result, bool]:
        result, events = await act(tx)
        if events:
            await failpoints.reach(CHANGED)
            await outbox.append(tx, events)
            await failpoints.reach(BEFORE_COMMIT)
        return result, bool(events)

    result, is_changed = await run_once(db, work)
    if is_changed:
        await failpoints.reach(AFTER_COMMIT)
    return result
