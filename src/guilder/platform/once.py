"""Work that is done once, though the answer to its commit may be lost.

`Database.run` repeats work whose connection was lost, also where it had been committed and only
the answer to that did not arrive. Work that recognises what it did before can be repeated: a
payment has its key. All other work would meet itself: a code that is right has just been used, an
endpoint that is new is one too many.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, TypeVar

from guilder.platform.db import Database, Tx, rows_done
from guilder.platform.identifiers import new_id

Result = TypeVar("Result")

_MARK: Final = """
    INSERT INTO platform.attempts (id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING true
"""
_CLEAR: Final = """
    DELETE FROM platform.attempts WHERE id = ANY (ARRAY(
        SELECT id FROM platform.attempts WHERE made_at <= statement_timestamp() - $1::interval
        ORDER BY made_at LIMIT $2
    ))
"""
_KEPT_FOR: Final = timedelta(hours=1)
"""Nobody tries for a minute."""
_AT_ONCE: Final = 10_000


async def run_once(db: Database, work: Callable[[Tx], Awaitable[Result]]) -> Result:
    """Do ``work`` as `Database.run` does, and once: a repeat after a commit answers what that did.

    It costs a row, and a message to the server.

    Raises:
        RowsBusy, Overloaded: as of `Database.run`. Whether the work was done is not known then.
    """
    mark = new_id()
    done: list[Result] = []

    async def once(tx: Tx) -> Result:
        # Where the first attempt is still committing, this waits for what becomes of it.
        if await tx.fetchval(_MARK, mark):
            done[:] = [await work(tx)]
        return done[0]

    return await db.run(once)


async def clear_marks(db: Database) -> None:
    """Forget attempts that nobody makes any more, a slice in each transaction."""

    async def clear(tx: Tx) -> int:
        return rows_done(await tx.execute(_CLEAR, _KEPT_FOR, _AT_ONCE))

    while await db.run(clear) == _AT_ONCE:
        pass
