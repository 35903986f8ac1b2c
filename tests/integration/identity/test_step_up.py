"""A session proves itself again: by what it must, for itself alone, and for a short time."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from tests.support.authenticator import Authenticator
from tests.support.enrolled import Resident, settled
from tests.support.town import PASSWORD, Town, data, error

Superuser = asyncpg.Connection


@pytest.fixture
async def anna(town: Town, superuser: Superuser) -> Resident:
    return await settled(town, superuser)


async def test_the_password_is_enough_without_a_second_factor(anna: Resident) -> None:
    proved = data(await anna.post("/step-up", password=PASSWORD))

    assert (proved["proved"], proved["by_factor"]) == (True, False)


async def test_a_code_removes_what_takes_a_factor(anna: Resident) -> None:
    await anna.enroll()

    proved = data(await anna.post("/step-up", otp=await anna.code()))

    assert proved["by_factor"] is True
    data(await anna.post("/mfa/totp/disable"))


async def test_a_proof_is_over_after_its_time(anna: Resident) -> None:
    await anna.enroll()
    data(await anna.post("/step-up", otp=await anna.code()))
    await anna.grow_old()

    assert error(await anna.post("/mfa/totp/disable"), 403)["code"] == "STEP_UP_REQUIRED"


async def test_a_proof_is_of_one_session(anna: Resident) -> None:
    await anna.enroll()
    elsewhere = await anna.again(otp=anna.recovery_codes[0])
    data(await elsewhere.post("/step-up", otp=await anna.code()))

    assert error(await anna.post("/mfa/totp/disable"), 403)["code"] == "STEP_UP_REQUIRED"


async def test_having_signed_in_with_a_factor_does_not_remove_one(anna: Resident) -> None:
    await anna.enroll()
    fresh = await anna.again(otp=await anna.code())

    assert error(await fresh.post("/mfa/totp/disable"), 403)["code"] == "STEP_UP_REQUIRED"


async def test_an_old_session_with_a_password_proof_does_not_add_a_factor_beside_others(
    anna: Resident,
) -> None:
    data(await anna.post("/step-up", password=PASSWORD))
    await anna.enroll()
    await anna.database.execute(
        "UPDATE identity.sessions SET started_at = started_at - interval '1 hour'"
    )

    refused = error(await anna.post("/passkeys/register/options"), 403)
    data(await anna.post("/step-up", otp=await anna.code()))

    assert refused["code"] == "STEP_UP_REQUIRED"
    data(await anna.post("/passkeys/register/options"))


async def test_a_wrong_password_proves_nothing(anna: Resident) -> None:
    refusal = error(await anna.post("/step-up", password="Wrong-Pass-9"), 403)
    await anna.grow_old()

    assert refusal["code"] == "STEP_UP_REQUIRED"
    error(await anna.post("/mfa/totp/enroll"), 403)


async def test_guessing_the_password_has_to_wait(anna: Resident) -> None:
    for _ in range(5):
        error(await anna.post("/step-up", password="Wrong-Pass-9"), 403)

    blocked = await anna.post("/step-up", password=PASSWORD)

    assert error(blocked, 429)["code"] == "TOO_MANY_CODES"
    assert 25 <= int(blocked.headers["retry-after"]) <= 31


async def test_guesses_at_the_password_in_parallel_are_counted_one_by_one(
    anna: Resident,
) -> None:
    answers = await asyncio.gather(
        *(anna.post("/step-up", password="Wrong-Pass-9") for _ in range(12))
    )

    assert sorted(answer.status_code for answer in answers) == [403] * 5 + [429] * 7


async def test_a_right_password_forgives_the_wrong_ones_before(anna: Resident) -> None:
    for _ in range(4):
        error(await anna.post("/step-up", password="Wrong-Pass-9"), 403)
    data(await anna.post("/step-up", password=PASSWORD))

    for _ in range(4):
        error(await anna.post("/step-up", password="Wrong-Pass-9"), 403)
    assert data(await anna.post("/step-up", password=PASSWORD))


async def test_a_wrong_code_proves_nothing(anna: Resident) -> None:
    await anna.enroll()

    refusal = error(await anna.post("/step-up", otp=await anna.wrong_code()), 400)

    assert refusal["code"] == "INVALID_OTP"
    error(await anna.post("/mfa/totp/disable"), 403)


async def test_a_passkey_proves_the_session_it_was_asked_by(anna: Resident) -> None:
    phone = Authenticator()
    await anna.add_passkey(phone)
    elsewhere = await anna.again(otp=anna.recovery_codes[0])
    credential = phone.get(data(await anna.post("/step-up/options")))

    stolen = error(await elsewhere.post("/step-up", passkey=credential), 401)
    proved = data(await anna.post("/step-up", passkey=credential))
    replayed = error(await anna.post("/step-up", passkey=credential), 401)

    assert proved["by_factor"] is True
    assert (stolen["code"], replayed["code"]) == ("UNAUTHORIZED", "UNAUTHORIZED")


async def test_anothers_passkey_proves_nothing(anna: Resident, town: Town) -> None:
    ben = await settled(town, anna.database, name="Ben")
    phone = Authenticator()
    await ben.add_passkey(phone)
    await anna.add_passkey(Authenticator())

    credential = phone.get(data(await anna.post("/step-up/options")))

    assert error(await anna.post("/step-up", passkey=credential), 401)["code"] == "UNAUTHORIZED"


async def test_there_must_be_a_passkey_to_ask_for(anna: Resident) -> None:
    assert error(await anna.post("/step-up/options"), 409)["code"] == "NO_SECOND_FACTOR"


@pytest.mark.parametrize("proof", [{}, {"otp": "123456", "password": PASSWORD}])
async def test_one_proof_is_needed_and_no_more(anna: Resident, proof: dict[str, object]) -> None:
    assert error(await anna.post("/step-up", **{"otp": None, **proof}), 400)["code"] == (
        "VALIDATION_ERROR"
    )


async def test_nobody_steps_up_without_a_session(town: Town) -> None:
    assert error(await town.post("/auth/step-up", password=PASSWORD), 401)["code"] == "UNAUTHORIZED"
