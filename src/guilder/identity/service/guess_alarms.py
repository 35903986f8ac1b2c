"""Whoever's sign-in codes are guessed at hears of it, and whoever guesses does not.

As with wishes for codes, what notices the guesses only leaves a job, whoever is named; whether
somebody has the name is looked up by whoever does the job.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Final

from msgspec import json

from guilder.identity.events import SignInCodesGuessed
from guilder.identity.service.code_sending import Named, opened_by_code
from guilder.identity.store.users import UserStore, database_time
from guilder.platform.db import Database, Tx
from guilder.platform.envelopes import OuterKeys
from guilder.platform.jobs import queue
from guilder.platform.jobs.held import Held
from guilder.platform.outbox import append, outgoing

TELL_OF_GUESSES: Final = "identity.tell_of_guesses"
_PLACE: Final = b"identity.jobs|guessed name"


class GuessAlarms:
    """Leaves a job when a name is guessed at, and does it."""

    def __init__(self, *, db: Database, users: UserStore, keys: OuterKeys) -> None:
        self._db = db
        self._users = users
        self._keys = keys

    async def leave(self, named: Named, *, failures: int) -> None:
        """Have told, later, that so many codes for this name were wrong in a row."""
        sealed = self._keys.wrap(json.encode(named), at=_PLACE)
        arguments = {"sealed": b64encode(sealed).decode("ascii"), "failures": failures}
        await self._db.run(lambda tx: queue.enqueue(tx, TELL_OF_GUESSES, arguments))

    async def tell(self, held: Held) -> None:
        """Tell whoever has the name, if somebody has it whom codes sign in."""
        opened = self._keys.unwrap(b64decode(held.arguments["sealed"]), at=_PLACE)
        named = json.decode(opened, type=Named)

        async def write(tx: Tx) -> None:
            account = await opened_by_code(tx, named, users=self._users)
            if account is None:
                return
            event = SignInCodesGuessed(
                user_id=account.user_id,
                failures=held.arguments["failures"],
                guessed_at=await database_time(tx),
            )
            await append(tx, [outgoing(event, key=str(account.user_id))])

        await held.commit(write)
