"""Staff take second factors away from whoever has lost them all, and nobody else does."""

from __future__ import annotations

from uuid import uuid4

import asyncpg
import pytest

from guilder.platform.db import Database
from guilder.platform.keys import KeyFolder
from guilder.platform.permissions import ADMIN, OPERATIONS, SUPPORT
from tests.integration.identity.test_commands import Shell, shell
from tests.support.authenticator import Authenticator
from tests.support.enrolled import Resident, settled
from tests.support.town import ForgetfulDatabase, Town, data, error, founded
from tests.support.townhall import Townsman, customer, staff

__all__ = ["shell"]

Superuser = asyncpg.Connection
WHY = "Lost the phone; identity checked in the branch."


@pytest.fixture
async def anna(town: Town, superuser: Superuser) -> Resident:
    anna = await settled(town, superuser)
    await anna.enroll()
    await anna.add_passkey(Authenticator())
    return anna


@pytest.fixture
async def admin(town: Town, db: Database) -> Townsman:
    return await staff(town, db, ADMIN)


def _path(user_id: object) -> str:
    return f"/admin/users/{user_id}/second-factors/reset"


async def test_the_password_alone_signs_in_again(anna: Resident, admin: Townsman) -> None:
    left = data(await admin.ask("POST", _path(anna.user_id), reason=WHY))

    assert (left["enrolled"], left["passkeys"], left["recovery_codes_left"]) == (False, 0, 0)
    assert data(await anna.sign_in())["token"]


async def test_their_sessions_end(anna: Resident, admin: Townsman) -> None:
    data(await admin.ask("POST", _path(anna.user_id), reason=WHY))

    assert error(await anna.send("GET", "/mfa"), 401)["code"] == "UNAUTHORIZED"


async def test_it_is_told_with_actor_and_reason(anna: Resident, admin: Townsman) -> None:
    data(await admin.ask("POST", _path(anna.user_id), reason=WHY))

    told = await anna.database.fetchval(
        "SELECT data::text FROM platform.outbox WHERE key = $1 AND type = $2",
        str(anna.user_id),
        "com.guilder.user.second_factors_reset",
    )
    assert admin.id in told
    assert WHY in told


async def test_repeating_it_changes_nothing(anna: Resident, admin: Townsman) -> None:
    for _ in range(2):
        data(await admin.ask("POST", _path(anna.user_id), reason=WHY))

    assert (await anna.events()).count("second_factors_reset") == 1


@pytest.mark.parametrize("role", [SUPPORT, OPERATIONS])
async def test_lesser_staff_may_not(anna: Resident, town: Town, db: Database, role: str) -> None:
    ben = await staff(town, db, role)

    refusal = error(await ben.ask("POST", _path(anna.user_id), reason=WHY), 403)

    assert refusal["code"] == "FORBIDDEN"
    assert (await anna.get("/mfa"))["enrolled"]


async def test_customers_may_not(anna: Resident, town: Town) -> None:
    ben = await customer(town, "Ben")

    refusal = error(await ben.ask("POST", _path(anna.user_id), reason=WHY), 403)

    assert refusal["code"] == "FORBIDDEN"


async def test_nobody_does_it_to_themselves(admin: Townsman) -> None:
    refusal = error(await admin.ask("POST", _path(admin.id), reason=WHY), 403)

    assert refusal["code"] == "FORBIDDEN"


async def test_there_must_be_such_a_user(admin: Townsman) -> None:
    refusal = error(await admin.ask("POST", _path(uuid4()), reason=WHY), 404)

    assert refusal["code"] == "NOT_FOUND"


async def test_a_reason_is_asked_for(anna: Resident, admin: Townsman) -> None:
    refusal = error(await admin.ask("POST", _path(anna.user_id), reason=""), 400)

    assert refusal["code"] == "VALIDATION_ERROR"


async def test_an_answer_that_was_lost_tells_it_once(
    forgetful: ForgetfulDatabase, town: Town, db: Database, superuser: Superuser
) -> None:
    async with founded(forgetful, KeyFolder(town.keys.folder)) as forgetful_town:
        anna = await settled(forgetful_town, superuser)
        await anna.enroll()
        admin = await staff(forgetful_town, db, ADMIN)

        data(await admin.ask("POST", _path(anna.user_id), reason=WHY))

        assert (await anna.events()).count("second_factors_reset") == 1


async def test_the_operator_lets_an_administrator_in_at_the_shell(
    shell: Shell, db: Database, superuser: Superuser
) -> None:
    folder = KeyFolder(shell.folder / "keys")
    folder.ensure()
    async with founded(db, folder) as lonely_town:
        anna = await settled(lonely_town, superuser)
        await anna.enroll()

        reset = ("admin", "reset-second-factors", "--reason", "Lost the phone.", "--email")
        done = await shell.guilder(*reset, anna.email)
        unknown = await shell.guilder(*reset, "nobody@example.com")
        odd = await shell.guilder(*reset, "nobody")

        assert (done[0], done[1]) == (0, f"{anna.email} signs in with the password alone.\n")
        assert data(await anna.sign_in())["token"]
        assert (await anna.events()).count("second_factors_reset") == 1
        assert [unknown[0], odd[0]] == [1, 1]
        assert unknown[2].splitlines()[-1] == "guilder: Nobody has this email."
        assert odd[2].splitlines()[-1] == "guilder: the email is not an email address"
