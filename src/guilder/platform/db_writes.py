"""What several contexts write in one transaction as one statement, so as one message to the server.

A message there and back costs both sides as much as some payments do, and while one batch waits
for its turn between two messages, what the server could do meanwhile is not done.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from guilder.platform.db import AlreadyThere, TryAgain, Tx

Parts: TypeAlias = tuple[tuple[str, str], ...]
"""Names and statements, for a ``WITH``; an ``INSERT`` or ``UPDATE`` that nobody names is done."""

_PARAMETER: Final = re.compile(r"\$(\d+)")


@dataclass(frozen=True, slots=True)
class Write:
    """A statement in parts, with parameters of its own from ``$1`` on, that returns nothing.

    Its names are nobody else's. ``races`` are the unique constraints that are broken where another
    transaction was faster.
    """

    parts: Parts
    args: tuple[object, ...]
    races: frozenset[str] = frozenset()


async def write_together(tx: Tx, writes: Sequence[Write]) -> None:
    """Do all of it, in no particular order; none sees what another wrote.

    Raises:
        TryAgain: another transaction was faster. Let it pass: `Database.run` looks again.
    """
    try:
        await tx.execute(
            _statement(tuple((write.parts, len(write.args)) for write in writes)),
            *(arg for write in writes for arg in write.args),
        )
    except AlreadyThere as clash:
        if not any(clash.constraint_name in write.races for write in writes):
            raise
        raise TryAgain(f"another transaction was faster: {clash.constraint_name}") from clash


@lru_cache(maxsize=64)
def _statement(writes: tuple[tuple[Parts, int], ...]) -> str:
    """One statement of these parts, each write's parameters numbered after those before it."""
    parts: list[str] = []
    before = 0
    for named, count in writes:
        for name, text in named:
            parts.append(f"{name} AS ({_renumbered(text, by=before)})")
        before += count
    return f"WITH {', '.join(parts)} SELECT"


def _renumbered(text: str, *, by: int) -> str:
    return _PARAMETER.sub(lambda found: f"${int(found[1]) + by}", text)
