"""Who wishes for a code names somebody: of that nothing stays once the wish is over."""

from __future__ import annotations

from base64 import b64encode

import asyncpg
from msgspec import json

from guilder.identity import module
from guilder.identity.service.named_jobs import SEND_CODE
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys
from guilder.platform.identifiers import new_id
from guilder.platform.jobs import queue
from tests.support.portal import settle
from tests.support.postbag import sent_to, work_off
from tests.support.town import CHEAP, Town, data

Superuser = asyncpg.Connection
KEYS = "SELECT count(*) FROM platform.ephemeral_keys"
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


async def test_many_wishes_for_one_name_leave_one_key_and_none_once_they_are_fulfilled(
    db: Database, town: Town, superuser: Superuser
) -> None:
    keys = OuterKeys(town.keys.folder)
    identity = module.build(db=db, keys=town.keys, contacts=keys, password_cost=CHEAP)
    await superuser.execute("DELETE FROM platform.ephemeral_keys")
    for _ in range(5):
        data(await town.post("/auth/otp/request", email="nobody.here@example.com"), 202)
    waiting = await superuser.fetchval(KEYS)

    await work_off(db, identity.tasks)

    assert (waiting, await superuser.fetchval(KEYS)) == (1, 0)


async def test_a_wish_that_a_release_before_has_taken_is_fulfilled(
    db: Database, town: Town, superuser: Superuser
) -> None:
    anna = await settle(town, "Anna")
    keys = OuterKeys(town.keys.folder)
    identity = module.build(db=db, keys=town.keys, contacts=keys, password_cost=CHEAP)
    name = json.encode({"email_key": anna.email})
    arguments = {
        "purpose": "login",
        "attempt": str(new_id()),
        "sealed": b64encode(keys.wrap(name, at=b"identity.jobs|name")).decode("ascii"),
    }
    await db.run(lambda tx: queue.enqueue(tx, SEND_CODE, arguments))

    await work_off(db, identity.tasks)

    assert [sent.purpose for sent in await sent_to(db, anna.id, keys=keys)] == ["login"]
