"""Where one-time codes are kept: in the database, unless Redis is set (`redis_codes`).

Whoever can read the store has no code: what is kept is a keyed digest, or encrypted with a key
that is outside it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final, Protocol

from guilder.identity.store import codes
from guilder.platform.db import Database
from guilder.platform.once import run_once

DECOY_BYTES: Final = 16


class CodeStore(Protocol):
    """Keeps secrets by name, each for a while, and counts the tries at each.

    Every method raises `Overloaded` when the store does not answer.
    """

    async def put(self, name: str, *, secret: bytes, life_s: int) -> None:
        """Keep a secret, in place of the one of this name."""
        ...

    async def read(self, names: Sequence[str]) -> Mapping[str, bytes]:
        """The secrets of these names that are alive."""
        ...

    async def guess(self, name: str, *, life_s: int) -> tuple[bytes, int]:
        """Count a try; the secret to compare with, and how many tries there were at it.

        For a name without a secret it is a decoy, which lives and counts as a real one does.
        """
        ...

    async def take(self, name: str, *, secret: bytes) -> bool:
        """Remove this very secret; true for the one who did."""
        ...

    async def drop(self, names: Sequence[str]) -> None:
        """Remove secrets, if they are there."""
        ...

    async def clear(self) -> None:
        """Remove what is over, where that does not happen by itself."""
        ...

    async def close(self) -> None:
        """Give up connections."""
        ...


class DatabaseCodes:
    """Codes in the database: a `CodeStore` that needs nothing else."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def put(self, name: str, *, secret: bytes, life_s: int) -> None:
        """Keep a secret, in place of the one of this name."""
        life = timedelta(seconds=life_s)
        await self._db.run(lambda tx: codes.put(tx, name, secret=secret, life=life))

    async def read(self, names: Sequence[str]) -> Mapping[str, bytes]:
        """The secrets of these names that are alive."""
        return await self._db.run(lambda tx: codes.read(tx, names))

    async def guess(self, name: str, *, life_s: int) -> tuple[bytes, int]:
        """Count a try; the secret or decoy to compare with, and how many tries there were."""
        decoy, life = os.urandom(DECOY_BYTES), timedelta(seconds=life_s)
        return await run_once(self._db, lambda tx: codes.guess(tx, name, decoy=decoy, life=life))

    async def take(self, name: str, *, secret: bytes) -> bool:
        """Remove this very secret; true for the one who did."""
        return await run_once(self._db, lambda tx: codes.take(tx, name, secret=secret))

    async def drop(self, names: Sequence[str]) -> None:
        """Remove secrets, if they are there."""
        await self._db.run(lambda tx: codes.drop(tx, names))

    async def clear(self) -> None:
        """Remove what is over."""
        await self._db.run(codes.clear)

    async def close(self) -> None:
        """Nothing: the database is somebody else's to close."""
