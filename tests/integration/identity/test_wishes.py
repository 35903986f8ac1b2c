"""Who wishes for a code names somebody: of that nothing stays once the wish is over."""

from __future__ import annotations

import asyncpg

from guilder.identity import module
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys
from tests.support.portal import settle
from tests.support.postbag import work_off
from tests.support.town import CHEAP, Town, data

Superuser = asyncpg.Connection
JOBS = "SELECT state, arguments::text FROM platform.jobs ORDER BY created_at"


async def test_nothing_of_whom_a_wish_named_outlives_it(
    db: Database, town: Town, superuser: Superuser
) -> None:
    anna = await settle(town, "Anna")
    identity = module.build(
        db=db, keys=town.keys, contacts=OuterKeys(town.keys.folder), password_cost=CHEAP
    )
    (forget,) = (job.run for job in identity.jobs if job.name == "identity.forget_wishes")
    data(await town.post("/auth/otp/request", email=anna.email), 202)
    await work_off(db, identity.tasks)
    data(await town.post("/auth/forgot", email=anna.email), 202)
    await superuser.execute(
        "UPDATE platform.jobs SET state = 'dead', ready_at = NULL WHERE state = 'waiting'"
    )

    await forget()
    at_first = [tuple(row) for row in await superuser.fetch(JOBS)]
    await superuser.execute("UPDATE platform.jobs SET created_at = created_at - interval '1 day'")
    await forget()

    assert at_first[0] == ("done", "{}")
    assert [state for state, _ in at_first] == ["done", "dead"]
    assert [tuple(row) for row in await superuser.fetch(JOBS)] == [("done", "{}")]
