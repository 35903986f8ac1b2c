"""Codes open accounts of customers, and of nobody who may more, whatever the account is called."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from guilder.identity import module
from guilder.identity.api.verifications import Asked, Operation
from guilder.identity.service.code_stores import DatabaseCodes
from guilder.identity.service.verifications import Verifying
from guilder.kernel.ids import UserId
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys, Unreadable
from guilder.platform.jobs import Task
from guilder.platform.keys import KeyFolder
from tests.support.portal import Resident, settle
from tests.support.postbag import sent_to, work_off
from tests.support.town import CHEAP, PASSWORD, ForgetfulDatabase, Town, data, error
from tests.support.townhall import proved, staff

Superuser = asyncpg.Connection

AGO = "UPDATE identity.code_issues SET issued_at = issued_at - interval '31 seconds'"
TO_BEN = {"to": "Ben", "amount": "60000.00"}
REASON = "Joined the support team."


def tasks_of(db: Database, keys: KeyFolder) -> tuple[Task, ...]:
    return module.build(
        db=db, keys=keys, contacts=OuterKeys(keys.folder), password_cost=CHEAP
    ).tasks


@pytest_asyncio.fixture
async def anna(town: Town, db: Database, superuser: Superuser) -> AsyncIterator[Resident]:
    anna = await settle(town, "Anna")
    await proved(str(anna.id), db=db)
    yield anna
    await superuser.execute("DELETE FROM platform.jobs")


async def codes_for(anna: Resident, town: Town, db: Database) -> list[str]:
    """What is on its way to her, once she has asked for a code."""
    data(await town.post("/auth/otp/request", email=anna.email), 202)
    await work_off(db, tasks_of(db, town.keys))
    keys = OuterKeys(town.keys.folder)
    return [sent.code for sent in await sent_to(db, UserId(anna.id), keys=keys)]


async def appoint(anna: Resident, role: str, *, town: Town, db: Database) -> None:
    admin = await staff(town, db, "admin")
    path = f"/admin/users/{UUID(str(anna.id))}/role"
    data(await admin.ask("PATCH", path, role=role, reason=REASON))


async def test_customer_who_became_staff_signs_in_by_no_code(
    town: Town, db: Database, anna: Resident
) -> None:
    (code,) = await codes_for(anna, town, db)
    await appoint(anna, "support", town=town, db=db)

    refused = await town.post("/auth/otp/verify", email=anna.email, otp=code)

    assert error(refused, 400)["code"] == "INVALID_OTP"
    data(await town.login(email=anna.email))


async def test_customer_who_became_staff_is_sent_no_code(
    town: Town, db: Database, anna: Resident, superuser: Superuser
) -> None:
    await appoint(anna, "support", town=town, db=db)
    assert await codes_for(anna, town, db) == []

    await appoint(anna, "customer", town=town, db=db)
    await superuser.execute(AGO)
    assert len(await codes_for(anna, town, db)) == 1


@pytest.mark.parametrize("ends", ["by the right code", "by giving it up"])
async def test_code_mailed_to_staff_opens_for_nobody_once_its_verification_is_over(
    ends: str, town: Town, db: Database
) -> None:
    admin = await staff(town, db, "admin")
    keys = OuterKeys(town.keys.folder)
    asked = await admin.ask(
        "POST", "/auth/password/change", current_password=PASSWORD, new_password="another-Secret-7"
    )
    verification = data(asked, 202)["verification_id"]
    (sent,) = await sent_to(db, UserId(UUID(admin.id)), keys=keys)

    if ends == "by the right code":
        data(await admin.ask("POST", f"/verifications/{verification}/verify", otp=sent.code))
    else:
        data(await admin.ask("POST", f"/verifications/{verification}/cancel"))

    assert sent.purpose == "verification"
    with pytest.raises(Unreadable):
        await sent_to(db, UserId(UUID(admin.id)), keys=keys)


async def test_lost_answer_to_a_commit_mails_staff_one_code(
    forgetful: ForgetfulDatabase, db: Database, town: Town
) -> None:
    keys = OuterKeys(town.keys.folder)
    ben = await staff(town, db, "operations")
    verifying = Verifying(db=forgetful, keys=keys, codes=DatabaseCodes(forgetful))
    staff_id = UserId(UUID(ben.id))

    needed = await verifying.demand(
        Asked(
            account_id=staff_id,
            operation=Operation.HIGH_VALUE_TRANSFER,
            parameters=TO_BEN,
            shown=TO_BEN,
        )
    )
    (sent,) = await sent_to(db, staff_id, keys=keys)
    proof = await verifying.verify(staff_id, verification_id=needed.verification_id, code=sent.code)

    assert proof.token.startswith("ver_")
