"""Who wishes for a code names somebody: of that nothing stays once the wish is over."""

from __future__ import annotations

import asyncpg

from guilder.identity import module
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys
from tests.support.portal import settle
from tests.support.postbag import sent_to, work_off
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
    await superuser.execute(
        "UPDATE platform.jobs SET created_at = created_at - interval '30 minutes'"
    )
    await forget()

    assert at_first[0] == ("done", "{}")
    assert [state for state, _ in at_first] == ["done", "dead"]
    assert [tuple(row) for row in await superuser.fetch(JOBS)] == [("done", "{}")]


async def test_a_wish_that_waited_too_long_is_fulfilled_for_nobody(
    db: Database, town: Town, superuser: Superuser
) -> None:
    anna = await settle(town, "Anna")
    keys = OuterKeys(town.keys.folder)
    identity = module.build(db=db, keys=town.keys, contacts=keys, password_cost=CHEAP)
    data(await town.post("/auth/otp/request", email=anna.email), 202)
    await superuser.execute("UPDATE platform.ephemeral_keys SET expires_at = clock_timestamp()")

    await work_off(db, identity.tasks)

    assert await sent_to(db, anna.id, keys=keys) == []
    states = await superuser.fetch("SELECT DISTINCT state FROM platform.jobs")
    assert [row["state"] for row in states] == ["done"]
