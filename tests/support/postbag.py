"""What identity sends to people: the jobs that send it, and the codes as whoever delivers reads."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import msgspec
from httpx2 import Response

from guilder.identity import module
from guilder.identity.events import (
    CodeIssued,
    code_place,
)
from guilder.kernel.ids import UserId
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys
from guilder.platform.ephemeral import openable
from guilder.platform.jobs import Held, Task, queue
from tests.support.town import CHEAP, Town, data

_ISSUED = """
    SELECT data::text FROM platform.outbox
    WHERE type = 'com.guilder.user.code_issued' AND key = $1 ORDER BY position
"""


_AGO = "UPDATE identity.code_issues SET issued_at = issued_at - interval '31 seconds'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A code with where it goes and what it is for."""

    code: str
    purpose: str
    channel: str
    text: str
    """The whole event, as it is published."""


async def work_off(db: Database, tasks: Sequence[Task]) -> None:
    """Do every job of ``tasks`` that waits."""
    by_name = {task.name: task for task in tasks}
    leases = dict.fromkeys(by_name, 30.0)
    while claimed := await db.run(lambda tx: queue.claim(tx, leases, at_most=8)):
        for job in claimed:
            held = Held(db, job, lease_s=30.0)
            await by_name[job.task].perform(held)
            await held.finish()


async def sent_to(db: Database, user_id: UserId, *, keys: OuterKeys) -> list[Sent]:
    """Every code that is on its way to somebody, in order, opened."""
    found = []
    async with db.reading() as tx:
        rows = await tx.fetch(_ISSUED, str(user_id))
        events = [msgspec.json.decode(row[0], type=CodeIssued) for row in rows]
        codes = await openable(tx, [b64decode(issued.sealed) for issued in events], keys=keys)
    for row, issued in zip(rows, events, strict=True):
        code = codes.open(b64decode(issued.sealed), at=code_place(user_id)).decode()
        found.append(Sent(code=code, purpose=issued.purpose, channel=issued.channel, text=row[0]))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Letterbox:
    """Whoever reads what a town sends to somebody, which need not be that user."""

    town: Town
    db: Database
    superuser: asyncpg.Connection
    user_id: UUID

    async def get(self, path: str, **named: str) -> str:
        """Ask for a code as somebody who is not signed in, and wait for it."""
        await self.superuser.execute(_AGO)
        data(await self.town.post(path, **named), 202)
        keys = OuterKeys(self.town.keys.folder)
        identity = module.build(db=self.db, keys=self.town.keys, contacts=keys, password_cost=CHEAP)
        await work_off(self.db, identity.tasks)
        return (await sent_to(self.db, UserId(self.user_id), keys=keys))[-1].code

    async def sign_in(self, *, second_factor: str | None = None, **named: str) -> Response:
        """Sign in with a code that is sent to this name."""
        code = await self.get("/auth/otp/request", **named)
        more = {} if second_factor is None else {"second_factor": second_factor}
        return await self.town.post("/auth/otp/verify", **named, otp=code, **more)

    async def reset(self, *, email: str, new_password: str) -> None:
        """Set another password with the token that is sent to this email."""
        token = await self.get("/auth/forgot", email=email)
        data(await self.town.post("/auth/reset", token=token, new_password=new_password))
