"""Erased people are forgotten: their feed, their messages, what they chose, where they live."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Final

from guilder.kernel.ids import UserId
from guilder.notifications.store import erasures, people
from guilder.platform.db import Database, Tx

_MOST: Final = 100


class Forgetting:
    """Forgets erased people, and whatever was still on its way to them."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def forget(self, tx: Tx, user_ids: Sequence[UserId]) -> None:
        """Forget these people, in the transaction in which it is heard that they were erased."""
        await erasures.forget(tx, sorted(set(user_ids)))

    async def forget_devices(self, tx: Tx, user_id: UserId, *, before: datetime) -> None:
        """Push nothing any more to the devices that a person had at a time."""
        await people.forget_devices(tx, user_id, before=before)

    async def forget_late_news(self) -> None:
        """Forget what came in of erased people afterwards: word of a wallet goes its own way."""
        while True:
            found = await self._db.run(lambda tx: erasures.told_late(tx, most=_MOST))
            if not found:
                return
            await self._db.run(partial(erasures.forget, user_ids=found))
