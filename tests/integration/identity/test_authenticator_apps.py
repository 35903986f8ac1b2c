"""Authenticator apps and recovery codes: added, confirmed, used once, removed, and guessed at."""

from __future__ import annotations

import asyncio
from base64 import b32decode
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from guilder.identity.domain import totp
from guilder.platform.keys import KeyFolder
from tests.support.enrolled import Resident, settled
from tests.support.town import PASSWORD, ForgetfulDatabase, Town, data, error, founded

Superuser = asyncpg.Connection


@pytest.fixture
async def anna(town: Town, superuser: Superuser) -> Resident:
    return await settled(town, superuser)


async def test_nobody_has_a_second_factor_at_first(anna: Resident) -> None:
    assert await anna.get("/mfa") == {
        "enrolled": False,
        "totp": False,
        "totp_since": None,
        "passkeys": 0,
        "recovery_codes_left": 0,
    }


async def test_enrolling_answers_a_secret_that_apps_read(anna: Resident) -> None:
    answer = await anna.post("/mfa/totp/enroll")

    enrollment = data(answer)
    uri = urlsplit(enrollment["otpauth_uri"])
    options = parse_qs(uri.query)
    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    assert uri.path == f"/Guilder:{anna.email.replace('@', '%40')}"
    assert options["secret"] == [enrollment["secret"]]
    assert (options["issuer"], options["digits"], options["period"]) == (["Guilder"], ["6"], ["30"])
    assert len(b32decode(enrollment["secret"])) == totp.SECRET_BYTES
    assert answer.headers["cache-control"] == "no-store"


async def test_the_secret_is_encrypted_where_it_is_kept(
    anna: Resident, superuser: Superuser
) -> None:
    secret = data(await anna.post("/mfa/totp/enroll"))["secret"]

    sealed = await superuser.fetchval(
        "SELECT sealed_secret FROM identity.totp WHERE user_id = $1", anna.user_id
    )
    assert b32decode(secret) not in sealed
    assert secret.encode() not in sealed


async def test_until_it_is_confirmed_nothing_asks_for_it(anna: Resident) -> None:
    data(await anna.post("/mfa/totp/enroll"))

    assert not (await anna.get("/mfa"))["enrolled"]
    data(await anna.sign_in())


async def test_confirming_answers_recovery_codes_once(anna: Resident) -> None:
    await anna.enroll()

    factors = await anna.get("/mfa")
    assert (factors["enrolled"], factors["totp"], factors["recovery_codes_left"]) == (
        True,
        True,
        10,
    )
    assert len(set(anna.recovery_codes)) == 10
    assert "second_factor_added" in await anna.events()


async def test_recovery_codes_are_kept_as_digests(anna: Resident, superuser: Superuser) -> None:
    await anna.enroll()

    kept = await superuser.fetchval(
        "SELECT string_agg(recovery_codes::text, ' ') FROM identity.recovery_codes"
    )
    assert not [code for code in anna.recovery_codes if code in kept]
    assert not [code for code in anna.recovery_codes if code.replace("-", "") in kept]


async def test_a_wrong_code_confirms_nothing(anna: Resident) -> None:
    anna.secret = b32decode(data(await anna.post("/mfa/totp/enroll"))["secret"])

    refusal = error(await anna.post("/mfa/totp/confirm", otp=await anna.wrong_code()), 400)

    assert refusal["code"] == "INVALID_OTP"
    assert not (await anna.get("/mfa"))["enrolled"]


async def test_confirming_needs_something_to_confirm(anna: Resident) -> None:
    refusal = error(await anna.post("/mfa/totp/confirm", otp="123456"), 409)

    assert refusal["code"] == "NOT_ENROLLING"


async def test_confirming_too_late_confirms_nothing(anna: Resident, superuser: Superuser) -> None:
    anna.secret = b32decode(data(await anna.post("/mfa/totp/enroll"))["secret"])
    await superuser.execute("UPDATE identity.totp SET confirm_by = clock_timestamp()")

    refusal = error(await anna.post("/mfa/totp/confirm", otp=await anna.code()), 409)

    assert refusal["code"] == "NOT_ENROLLING"


async def test_enrolling_again_forgets_the_secret_before(anna: Resident) -> None:
    anna.secret = b32decode(data(await anna.post("/mfa/totp/enroll"))["secret"])
    data(await anna.post("/mfa/totp/enroll"))

    refusal = error(await anna.post("/mfa/totp/confirm", otp=await anna.code()), 400)

    assert refusal["code"] == "INVALID_OTP"


async def test_there_is_one_app_at_a_time(anna: Resident) -> None:
    await anna.enroll()

    again = error(await anna.post("/mfa/totp/enroll"), 409)
    confirmed = error(await anna.post("/mfa/totp/confirm", otp=await anna.code()), 409)

    assert (again["code"], confirmed["code"]) == ("ALREADY_ENROLLED", "ALREADY_ENROLLED")


async def test_the_code_that_confirmed_is_used(anna: Resident) -> None:
    anna.secret = b32decode(data(await anna.post("/mfa/totp/enroll"))["secret"])
    code = await anna.code()
    data(await anna.post("/mfa/totp/confirm", otp=code))

    assert error(await anna.sign_in(otp=code), 400)["code"] == "INVALID_OTP"


async def test_confirming_ends_the_other_sessions_and_not_this_one(anna: Resident) -> None:
    elsewhere = await anna.again()

    await anna.enroll()

    error(await elsewhere.send("GET", "/mfa"), 401)
    assert (await anna.get("/mfa"))["totp"]


async def test_an_old_session_has_to_step_up_before_it_enrolls(anna: Resident) -> None:
    await anna.grow_old()

    refusal = error(await anna.post("/mfa/totp/enroll"), 403)
    data(await anna.post("/step-up", password=PASSWORD))

    assert refusal["code"] == "STEP_UP_REQUIRED"
    data(await anna.post("/mfa/totp/enroll"))


async def test_signing_in_takes_the_code_with_the_password(anna: Resident) -> None:
    await anna.enroll()

    login = data(await anna.sign_in(otp=await anna.code()))

    assert login["user"]["id"] == str(anna.user_id)
    methods = await anna.database.fetchval(
        "SELECT methods FROM identity.sessions WHERE account_id = $1 ORDER BY id DESC LIMIT 1",
        anna.user_id,
    )
    assert methods == ["pwd", "otp", "mfa"]


async def test_the_user_admin_account_asks_for_the_same_factor(anna: Resident) -> None:
    await anna.enroll()

    challenge = data(await anna.sign_in(account_type="user_admin"), 202)
    login = data(await anna.sign_in(account_type="user_admin", otp=await anna.code()))

    assert challenge["mfa_required"] is True
    assert login["user"]["account_type"] == "user_admin"


async def test_a_code_is_good_once(anna: Resident) -> None:
    await anna.enroll()
    code = await anna.code()
    data(await anna.sign_in(otp=code))

    assert error(await anna.sign_in(otp=code), 400)["code"] == "INVALID_OTP"


async def test_a_code_is_good_once_for_many_at_the_same_time(anna: Resident) -> None:
    await anna.enroll()
    code = await anna.code(steps=1)

    answers = await asyncio.gather(*(anna.sign_in(otp=code) for _ in range(3)))

    assert sorted(answer.status_code for answer in answers) == [200, 400, 400]


async def test_a_code_before_one_that_was_used_is_not_good(anna: Resident) -> None:
    await anna.enroll()
    earlier = await anna.code()
    data(await anna.sign_in(otp=await anna.code(steps=1)))

    assert error(await anna.sign_in(otp=earlier), 400)["code"] == "INVALID_OTP"


async def test_a_wrong_password_is_not_told_apart_by_the_code(anna: Resident) -> None:
    await anna.enroll()

    refusal = error(await anna.sign_in(password="Wrong-Pass-9", otp=await anna.code()), 401)

    assert refusal["code"] == "UNAUTHORIZED"


async def test_a_recovery_code_signs_in_once_however_it_is_written(anna: Resident) -> None:
    await anna.enroll()
    written = anna.recovery_codes[0].upper().replace("-", " ")

    data(await anna.sign_in(otp=written))

    assert error(await anna.sign_in(otp=written), 400)["code"] == "INVALID_OTP"
    assert (await anna.get("/mfa"))["recovery_codes_left"] == 9
    assert "recovery_code_used" in await anna.events()


async def test_a_recovery_code_is_good_once_for_many_at_the_same_time(anna: Resident) -> None:
    await anna.enroll()

    answers = await asyncio.gather(*(anna.sign_in(otp=anna.recovery_codes[0]) for _ in range(3)))

    assert sorted(answer.status_code for answer in answers) == [200, 400, 400]


async def test_anothers_recovery_code_is_worth_nothing(anna: Resident, town: Town) -> None:
    ben = await settled(town, anna.database, name="Ben")
    await anna.enroll()
    await ben.enroll()

    assert error(await ben.sign_in(otp=anna.recovery_codes[0]), 400)["code"] == "INVALID_OTP"


async def test_guessing_has_to_wait_longer_and_longer(anna: Resident) -> None:
    await anna.enroll()
    wrong = await anna.wrong_code()
    for _ in range(5):
        error(await anna.sign_in(otp=wrong), 400)

    waits = []
    for _ in range(2):
        blocked = await anna.sign_in(otp=await anna.code())
        assert error(blocked, 429)["code"] == "TOO_MANY_CODES"
        waits.append(int(blocked.headers["retry-after"]))
        await anna.wait_out_block()
        error(await anna.sign_in(otp=wrong), 400)

    assert 25 <= waits[0] <= 31
    assert 55 <= waits[1] <= 61
    assert (await anna.events()).count("second_factor_guessed") == 1


async def test_guesses_in_parallel_are_counted_one_by_one(anna: Resident) -> None:
    await anna.enroll()
    wrong = await anna.wrong_code()

    answers = await asyncio.gather(*(anna.sign_in(otp=wrong) for _ in range(12)))

    assert sorted(answer.status_code for answer in answers) == [400] * 5 + [429] * 7


async def test_a_recovery_code_works_while_codes_have_to_wait(anna: Resident) -> None:
    await anna.enroll()
    wrong = await anna.wrong_code()
    for _ in range(5):
        error(await anna.sign_in(otp=wrong), 400)

    data(await anna.sign_in(otp=anna.recovery_codes[0]))

    assert data(await anna.sign_in(otp=await anna.code()))


async def test_disabling_takes_a_code(anna: Resident) -> None:
    await anna.enroll()

    without = error(await anna.post("/mfa/totp/disable"), 403)
    wrong = error(await anna.post("/mfa/totp/disable", otp=await anna.wrong_code()), 400)
    done = data(await anna.post("/mfa/totp/disable", otp=await anna.code()))

    assert (without["code"], wrong["code"]) == ("STEP_UP_REQUIRED", "INVALID_OTP")
    assert done == {"enabled": False}
    factors = await anna.get("/mfa")
    assert (factors["enrolled"], factors["recovery_codes_left"]) == (False, 0)
    data(await anna.sign_in())
    assert "second_factor_removed" in await anna.events()


async def test_the_password_does_not_disable_a_factor(anna: Resident) -> None:
    data(await anna.post("/step-up", password=PASSWORD))
    await anna.enroll()

    assert error(await anna.post("/mfa/totp/disable"), 403)["code"] == "STEP_UP_REQUIRED"
    refusal = error(await anna.post("/step-up", password=PASSWORD), 403)
    assert refusal["code"] == "STEP_UP_REQUIRED"


async def test_disabling_ends_the_other_sessions(anna: Resident) -> None:
    await anna.enroll()
    elsewhere = await anna.again(otp=await anna.code())
    await anna.wait_for_next_code()

    data(await anna.post("/mfa/totp/disable", otp=await anna.code()))

    error(await elsewhere.send("GET", "/mfa"), 401)
    assert not (await anna.get("/mfa"))["totp"]


async def test_there_must_be_a_factor_to_disable_or_to_recover(anna: Resident) -> None:
    disabled = error(await anna.post("/mfa/totp/disable", otp="123456"), 409)
    replaced = error(await anna.post("/mfa/recovery-codes", otp="123456"), 409)

    assert (disabled["code"], replaced["code"]) == ("NO_SECOND_FACTOR", "NO_SECOND_FACTOR")


async def test_new_recovery_codes_replace_the_old_ones(anna: Resident) -> None:
    await anna.enroll()
    old = anna.recovery_codes[0]

    without = error(await anna.post("/mfa/recovery-codes"), 403)
    wrong = error(await anna.post("/mfa/recovery-codes", otp=await anna.wrong_code()), 400)
    new = data(await anna.post("/mfa/recovery-codes", otp=await anna.code()))["recovery_codes"]

    assert (without["code"], wrong["code"]) == ("STEP_UP_REQUIRED", "INVALID_OTP")
    assert len(set(new) - set(anna.recovery_codes)) == 10
    error(await anna.sign_in(otp=old), 400)
    data(await anna.sign_in(otp=new[0]))
    assert "recovery_codes_replaced" in await anna.events()


@pytest.mark.parametrize("text", ["", "x" * 41])
async def test_a_code_of_no_length_is_not_looked_at(anna: Resident, text: str) -> None:
    assert error(await anna.post("/mfa/totp/confirm", otp=text), 400)["code"] == "VALIDATION_ERROR"


@pytest.mark.parametrize(
    "text", ["12345", "abcdef", "\N{FULLWIDTH DIGIT ONE}23456", "123 4567", "-12345", "🙂🙂🙂"]
)
async def test_odd_codes_are_wrong_codes(anna: Resident, text: str) -> None:
    await anna.enroll()

    assert error(await anna.sign_in(otp=text), 400)["code"] == "INVALID_OTP"


async def test_an_answer_that_was_lost_can_be_given_again(
    forgetful: ForgetfulDatabase, town: Town, superuser: Superuser
) -> None:
    async with founded(forgetful, KeyFolder(town.keys.folder)) as forgetful_town:
        anna = await settled(forgetful_town, superuser)
        await anna.enroll()
        recovery_code = anna.recovery_codes[0]

        data(await anna.sign_in(otp=await anna.code()))
        data(await anna.sign_in(otp=recovery_code))
        await anna.wait_for_next_code()
        new = data(await anna.post("/mfa/recovery-codes", otp=await anna.code()))
        await anna.wait_for_next_code()
        done = data(await anna.post("/mfa/totp/disable", otp=await anna.code()))

        assert len(new["recovery_codes"]) == 10
        assert done == {"enabled": False}
        events = await anna.events()
        once = ("second_factor_added", "recovery_code_used", "second_factor_removed")
        assert [events.count(name) for name in once] == [1, 1, 1]
