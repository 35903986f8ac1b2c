"""What several contexts write in one transaction, as one statement: one message to the server.

A message there and back costs both sides as much as some payments do; and while the process is at
another batch, nobody sends the next one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from guilder.kernel.invariant import invariant
from guilder.platform.db import AlreadyThere, TryAgain, Tx, notify_after_commit

Part: TypeAlias = tuple[str, str]
"""A name and a statement, for a ``WITH``. What writes is done whether or not others refer to it."""

_PARAMETER: Final = re.compile(r"\$(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A statement in parts that returns nothing, with parameters of its own from ``$1`` on.

    Its parts' names are nobody else's, its tables are named with their schema, and ``$1`` is a
    parameter wherever it stands. Where one of ``races``, unique constraints such as
    ``ledger.transactions_pkey``, is broken, another transaction was faster. ``wakes`` is the
    channel of those who wait for what is written.
    """

    parts: Sequence[Part]
    args: Sequence[object]
    races: frozenset[str] = frozenset()
    wakes: str | None = None


async def write_together(tx: Tx, writes: Sequence[Write]) -> None:
    """Do all of it, in no particular order. None sees what another wrote.

    What has to be locked first, because it decides whether or in which order something is written,
    is locked by an earlier statement: all of this sees the moment at which it began.

    Raises:
        TryAgain: another transaction was faster. Let it pass: `Database.run` looks again.
    """
    if not writes:
        return
    statement = _statement(tuple((tuple(write.parts), len(write.args)) for write in writes))
    try:
        await tx.execute(statement, *(arg for write in writes for arg in write.args))
    except AlreadyThere as clash:
        broken = f"{clash.schema_name}.{clash.constraint_name}"
        if not any(broken in write.races for write in writes):
            raise
        raise TryAgain(f"another transaction was faster: {broken}") from clash
    for write in writes:
        if write.wakes is not None:
            notify_after_commit(write.wakes)


@lru_cache(maxsize=64)
def _statement(writes: tuple[tuple[tuple[Part, ...], int], ...]) -> str:
    """One statement of all parts, each write's parameters numbered after those before it."""
    parts: dict[str, str] = {}
    before = 0
    for named, count in writes:
        for name, text in named:
            invariant(name not in parts, "parts of one statement have different names")
            parts[name] = _renumbered(text, by=before)
        before += count
    return f"WITH {', '.join(f'{name} AS ({text})' for name, text in parts.items())} SELECT"


def _renumbered(text: str, *, by: int) -> str:
    return _PARAMETER.sub(lambda found: f"${int(found[1]) + by}", text)
