"""A sign-in that waits for a second factor: completed once, in time, from where it began."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import httpx2
import pytest

from guilder.platform.db import Database
from guilder.platform.keys import KeyFolder
from guilder.platform.permissions import COMPLIANCE
from tests.support.enrolled import Resident, settled
from tests.support.town import ForgetfulDatabase, Town, data, error, founded
from tests.support.townhall import staff

Superuser = asyncpg.Connection


@pytest.fixture
async def anna(town: Town, superuser: Superuser) -> Resident:
    anna = await settled(town, superuser)
    await anna.enroll()
    return anna


async def _challenged(person: Resident, **more: object) -> Any:
    return data(await person.sign_in(**more), 202)


async def _verify(person: Resident, challenge: Any, **proof: object) -> httpx2.Response:
    return await person.town.post("/auth/mfa/verify", challenge=challenge["challenge"], **proof)


async def test_signing_in_without_a_code_answers_a_challenge_and_no_token(anna: Resident) -> None:
    challenge = await _challenged(anna)

    assert challenge["mfa_required"] is True
    assert challenge["factors"] == ["totp", "recovery_code"]
    assert challenge["passkey_options"] is None
    assert len(challenge["challenge"]) == 43
    assert "token" not in challenge


async def test_a_challenge_is_kept_as_a_digest(anna: Resident) -> None:
    challenge = await _challenged(anna)

    kept = await anna.database.fetchval(
        "SELECT string_agg(c::text, ' ') FROM identity.sign_in_challenges c"
    )
    assert challenge["challenge"] not in kept
    assert challenge["challenge"].encode().hex() not in kept


async def test_the_code_completes_the_sign_in(anna: Resident) -> None:
    challenge = await _challenged(anna)

    login = data(await _verify(anna, challenge, otp=await anna.code()))

    assert login["user"]["id"] == str(anna.user_id)
    assert login["refresh_token"]
    caller = await anna.town.verifier.verify(login["token"])
    assert caller.session_id is not None
    methods = await anna.database.fetchval(
        "SELECT methods FROM identity.sessions WHERE id = $1", caller.session_id
    )
    assert methods == ["pwd", "otp", "mfa"]


async def test_the_account_is_the_one_whose_password_was_given(anna: Resident) -> None:
    challenge = await _challenged(anna, account_type="user_admin")

    login = data(await _verify(anna, challenge, otp=await anna.code()))

    assert login["user"]["account_type"] == "user_admin"


async def test_a_recovery_code_completes_it_too(anna: Resident) -> None:
    challenge = await _challenged(anna)

    assert data(await _verify(anna, challenge, otp=anna.recovery_codes[3]))


async def test_a_challenge_is_completed_once(anna: Resident) -> None:
    challenge = await _challenged(anna)
    data(await _verify(anna, challenge, otp=await anna.code()))

    refusal = error(await _verify(anna, challenge, otp=anna.recovery_codes[0]), 401)

    assert refusal["code"] == "UNAUTHORIZED"
    assert (await anna.get("/mfa"))["recovery_codes_left"] == 10


async def test_a_challenge_is_completed_once_by_many_at_the_same_time(anna: Resident) -> None:
    challenge = await _challenged(anna)

    answers = await asyncio.gather(
        *(_verify(anna, challenge, otp=code) for code in anna.recovery_codes[:4])
    )

    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401]
    assert (await anna.get("/mfa"))["recovery_codes_left"] == 9


async def test_five_wrong_answers_end_a_challenge(anna: Resident) -> None:
    challenge = await _challenged(anna)
    for _ in range(5):
        refusal = error(await _verify(anna, challenge, otp="aaaa-aaaa-aaaa-aaaa"), 400)
        assert refusal["code"] == "INVALID_OTP"

    refusal = error(await _verify(anna, challenge, otp=await anna.code()), 401)

    assert refusal["code"] == "UNAUTHORIZED"


async def test_wrong_answers_in_parallel_are_five_all_the_same(anna: Resident) -> None:
    challenge = await _challenged(anna)

    answers = await asyncio.gather(
        *(_verify(anna, challenge, otp="aaaa-aaaa-aaaa-aaaa") for _ in range(9))
    )

    assert sorted(answer.status_code for answer in answers) == [400] * 5 + [401] * 4


async def test_new_challenges_give_no_new_guesses_at_the_code(anna: Resident) -> None:
    wrong = await anna.wrong_code()
    for _ in range(5):
        error(await _verify(anna, await _challenged(anna), otp=wrong), 400)

    blocked = await _verify(anna, await _challenged(anna), otp=await anna.code())

    assert error(blocked, 429)["code"] == "TOO_MANY_CODES"


async def test_a_challenge_is_over_after_its_time(anna: Resident) -> None:
    challenge = await _challenged(anna)
    await anna.database.execute(
        "UPDATE identity.sign_in_challenges SET expires_at = clock_timestamp()"
    )

    answer = await _verify(anna, challenge, otp=await anna.code())

    assert error(answer, 401)["code"] == "UNAUTHORIZED"


async def test_a_challenge_is_worth_nothing_in_another_network(anna: Resident) -> None:
    challenge = await _challenged(anna)
    await anna.database.execute("UPDATE identity.sign_in_challenges SET network = '203.0.0.0/16'")

    answer = await _verify(anna, challenge, otp=await anna.code())

    assert error(answer, 401)["code"] == "UNAUTHORIZED"


async def test_a_challenge_is_void_once_the_password_counts_no_more(anna: Resident) -> None:
    challenge = await _challenged(anna)
    await anna.wait_for_next_code()
    data(await anna.post("/mfa/totp/disable", otp=await anna.code()))
    await anna.enroll()

    answer = await _verify(anna, challenge, otp=await anna.code())

    assert error(answer, 401)["code"] == "UNAUTHORIZED"


async def test_anothers_code_does_not_complete_it(anna: Resident, town: Town) -> None:
    ben = await settled(town, anna.database, name="Ben")
    await ben.enroll()
    challenge = await _challenged(anna)

    refusal = error(await _verify(anna, challenge, otp=ben.recovery_codes[0]), 400)

    assert refusal["code"] == "INVALID_OTP"


@pytest.mark.parametrize("token", ["x", "0" * 43, "🙂", "x" * 100])
async def test_made_up_challenges_are_unknown(anna: Resident, token: str) -> None:
    answer = await _verify(anna, {"challenge": token}, otp=await anna.code())

    assert error(answer, 401)["code"] == "UNAUTHORIZED"


@pytest.mark.parametrize("proof", [{}, {"otp": "123456", "passkey": {}}])
async def test_one_proof_is_needed_and_no_more(anna: Resident, proof: dict[str, object]) -> None:
    refusal = error(await _verify(anna, await _challenged(anna), **proof), 400)

    assert refusal["code"] == "VALIDATION_ERROR"


async def test_an_access_token_does_not_stand_in_for_a_challenge(anna: Resident) -> None:
    answer = await anna.post("/mfa/verify", challenge=anna.token[:90], otp=await anna.code())

    assert error(answer, 401)["code"] == "UNAUTHORIZED"


async def test_a_completion_whose_answer_was_lost_is_done_once(
    forgetful: ForgetfulDatabase, town: Town, superuser: Superuser
) -> None:
    async with founded(forgetful, KeyFolder(town.keys.folder)) as forgetful_town:
        anna = await settled(forgetful_town, superuser)
        await anna.enroll()
        challenge = await _challenged(anna)

        data(await _verify(anna, challenge, otp=anna.recovery_codes[0]))

        assert (await anna.get("/mfa"))["recovery_codes_left"] == 9
        assert (await anna.events()).count("recovery_code_used") == 1


async def test_a_freeze_ends_a_sign_in_that_waits(anna: Resident, town: Town, db: Database) -> None:
    challenge = await _challenged(anna)
    compliance = await staff(town, db, COMPLIANCE)
    frozen = await compliance.ask("POST", f"/admin/users/{anna.user_id}/freeze", reason="Stolen.")

    waiting = await _verify(anna, challenge, otp=await anna.code())
    begun_since = await _verify(anna, await _challenged(anna), otp=await anna.code())

    assert data(frozen)["status"] == "frozen"
    assert error(waiting, 401)["code"] == "UNAUTHORIZED"
    assert error(begun_since, 403)["code"] == "USER_FROZEN"
