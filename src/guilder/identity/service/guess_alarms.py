"""Whoever's sign-in codes are guessed at hears of it, and whoever guesses does not.

As with wishes for codes, what notices the guesses only leaves a job, whoever is named; whether
somebody has the name is looked up by whoever does the job.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from guilder.identity.events import SignInCodesGuessed
from guilder.identity.service.code_sending import opened_by_code
from guilder.identity.service.named_jobs import TELL_OF_GUESSES, NamedJobs
from guilder.identity.service.names import Named
from guilder.identity.service.one_time_codes import Purpose
from guilder.identity.store.users import UserStore, database_time
from guilder.platform.db import Database, Tx
from guilder.platform.envelopes import OuterKeys
from guilder.platform.jobs import queue
from guilder.platform.jobs.held import Held
from guilder.platform.outbox import append, outgoing

_OF_USE_FOR: Final = timedelta(days=1)


class GuessAlarms:
    """Leaves a job when a name is guessed at, and does it."""

    def __init__(self, *, db: Database, users: UserStore, keys: OuterKeys) -> None:
        self._db = db
        self._users = users
        self._jobs = NamedJobs(keys)

    async def leave(self, named: Named, *, failures: int) -> None:
        """Have told, later, that so many codes for this name were wrong in a row."""
        await self._db.run(
            lambda tx: self._jobs.leave(
                tx,
                TELL_OF_GUESSES,
                named,
                purpose=Purpose.LOGIN,
                arguments={"failures": failures},
                life=_OF_USE_FOR,
            )
        )

    async def tell(self, held: Held) -> None:
        """Tell whoever has the name, if somebody has it whom codes sign in."""

        async def write(tx: Tx) -> None:
            named = await self._jobs.named(tx, held)
            if named is None:
                return
            await self._jobs.over(tx, held)
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

    async def forget_failed(self) -> None:
        """Forget alarms that could not be told while they were of use."""
        await queue.forget_dead(self._db, TELL_OF_GUESSES, keep=_OF_USE_FOR)
