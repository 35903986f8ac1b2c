"""Whether requests can be served: of the database, and by the keys that this process knows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol

import structlog

from guilder.platform.db import Database
from guilder.platform.db_durability import check_durability
from guilder.platform.postgres.migrator import pending
from guilder.platform.uncut import uncut

_log = structlog.get_logger("guilder.readiness")
_PATIENCE_S: Final = 3.0
_HOLDS_S: Final = 1.0


class Keys(Protocol):
    """Keys of a folder, as this process has read them."""

    @property
    def is_known(self) -> bool:
        """Whether it knows every key that the folder has, as far as it has looked."""
        ...


class Readiness:
    """Asks the database; an answer that does not come in time is a no.

    It answers, is migrated, and keeps what it says. ``keys`` that others use are known: files that
    cannot be read any more are no matter while what they hold is.

    Anybody may ask, as often as they like, and an answer takes three connections of those that
    payments need: whoever asks meanwhile gets the same answer, and a yes holds for a second. A no
    does not, so that it is known at once when everything works again.
    """

    def __init__(
        self,
        db: Database,
        *,
        accept_no_checksums: bool,
        keys: Sequence[Keys] = (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._db = db
        self._accept_no_checksums = accept_no_checksums
        self._keys = keys
        self._monotonic = monotonic
        self._asked: asyncio.Task[Mapping[str, bool]] | None = None
        self._holds_until = 0.0

    async def __call__(self) -> Mapping[str, bool]:
        """Whether each part that has to work does."""
        asked = self._asked
        if asked is None or (asked.done() and self._monotonic() >= self._holds_until):
            asked = self._asked = asyncio.create_task(self._ask())
        return await uncut(asked)

    async def _ask(self) -> Mapping[str, bool]:
        names = ("database", "migrations", "durability", "keys")
        parts = (
            self._answers(),
            self._is_migrated(),
            self._is_durable(),
            self._knows_keys(),
        )
        results = await asyncio.gather(*(self._holds(part) for part in parts))
        if all(results):
            self._holds_until = self._monotonic() + _HOLDS_S
        return dict(zip(names, results, strict=True))

    async def _holds(self, part: Awaitable[None]) -> bool:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await part
        except Exception as error:  # noqa: BLE001 - whatever it is, requests cannot be served
            _log.warning("readiness.missing", reason=f"{type(error).__name__}: {error}")
            return False
        return True

    async def _answers(self) -> None:
        await self._db.fetchval("SELECT 1")

    async def _is_durable(self) -> None:
        await check_durability(self._db, accept_no_checksums=self._accept_no_checksums)

    async def _is_migrated(self) -> None:
        missing = [history.context for history in await pending(self._db)]
        if missing:
            raise LookupError(f"to be migrated: {', '.join(missing)}")

    async def _knows_keys(self) -> None:
        if not all(keys.is_known for keys in self._keys):
            raise LookupError("the key folder has keys that this process cannot read")
