"""Passkeys: made, used once per challenge, on this site only, by their owner, and removed."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import asyncpg
import httpx2
import pytest

from guilder.platform.db import Database
from guilder.platform.keys import KeyFolder
from guilder.platform.permissions import COMPLIANCE
from tests.support.authenticator import Authenticator, packed
from tests.support.enrolled import Resident, settled
from tests.support.town import ForgetfulDatabase, Town, data, error, founded
from tests.support.townhall import staff

Superuser = asyncpg.Connection
MISBEHAVING = [
    {"origin": "https://evil.example"},
    {"origin": "http://localhost:8000.evil.example"},
    {"origin": "http://localhost:8001"},
    {"domain": "evil.example"},
    {"verifies_user": False},
    {"user_is_present": False},
    {"challenge": b"0" * 32},
    {"cross_origin": True},
]


@pytest.fixture
async def anna(town: Town, superuser: Superuser) -> Resident:
    return await settled(town, superuser)


async def _asked(town: Town) -> Any:
    return data(await town.post("/auth/passkeys/login/options"))


async def _sign_in(town: Town, credential: object, **more: object) -> httpx2.Response:
    return await town.post("/auth/passkeys/login/verify", credential=credential, **more)


async def test_the_options_ask_for_a_passkey_that_knows_its_user(anna: Resident) -> None:
    options = data(await anna.post("/passkeys/register/options"))

    assert options["rp"] == {"name": "Guilder", "id": "localhost"}
    assert options["user"]["id"] == packed(anna.user_id.bytes)
    assert options["authenticatorSelection"]["residentKey"] == "required"
    assert options["authenticatorSelection"]["userVerification"] == "required"
    assert options["attestation"] == "none"
    assert -7 in {kind["alg"] for kind in options["pubKeyCredParams"]}


async def test_a_new_passkey_is_shown_with_recovery_codes(anna: Resident) -> None:
    added = await anna.add_passkey(Authenticator(is_synced=True), name="Anna's phone")

    assert (added["name"], added["synced"], added["last_used_at"]) == ("Anna's phone", True, None)
    assert len(added["recovery_codes"]) == 10
    (listed,) = await anna.get("/passkeys")
    assert listed == {name: added[name] for name in listed}
    assert "second_factor_added" in await anna.events()


async def test_the_second_passkey_leaves_the_recovery_codes_alone(anna: Resident) -> None:
    phone = Authenticator()
    await anna.add_passkey(phone)

    added = await anna.add_passkey(Authenticator(), name="Key")

    assert added["recovery_codes"] is None
    assert [passkey["name"] for passkey in await anna.get("/passkeys")] == ["Phone", "Key"]


async def test_the_browser_is_told_which_passkeys_are_known(anna: Resident) -> None:
    phone = Authenticator()
    await anna.add_passkey(phone)

    (known,) = data(await anna.post("/passkeys/register/options"))["excludeCredentials"]

    assert known["id"] == packed(phone.credential_id)
    assert known["transports"] == ["hybrid", "internal"]


async def test_a_passkey_signs_in_by_itself(anna: Resident, town: Town) -> None:
    phone = Authenticator()
    await anna.add_passkey(phone)

    login = data(await _sign_in(town, phone.get(await _asked(town))))

    assert login["user"]["id"] == str(anna.user_id)
    methods = await anna.database.fetchval(
        "SELECT methods FROM identity.sessions WHERE account_id = $1 ORDER BY id DESC LIMIT 1",
        anna.user_id,
    )
    assert methods == ["hwk", "mfa"]
    assert (await anna.get("/passkeys"))[0]["last_used_at"] is not None


async def test_a_passkey_signs_in_to_the_user_admin_account_when_it_is_named(
    anna: Resident, town: Town
) -> None:
    phone = Authenticator()
    await anna.add_passkey(phone)
    credential = phone.get(await _asked(town))

    login = data(await _sign_in(town, credential, account_type="user_admin"))

    assert login["user"]["account_type"] == "user_admin"
    assert login["user"]["customer_id"] == str(anna.user_id)


async def test_a_passkey_does_not_sign_in_to_an_account_that_its_user_has_not(
    anna: Resident, town: Town
) -> None:
    phone = Authenticator()
    await anna.add_passkey(phone)

    answer = await _sign_in(town, phone.get(await _asked(town)), account_type="staff")

    assert error(answer, 401)["code"] == "UNAUTHORIZED"


async def test_what_signing_in_asks_for_tells_nothing_of_anybody(
    anna: Resident, town: Town
) -> None:
    await anna.add_passkey(Authenticator())

    options = await _asked(town)

    assert not options.get("allowCredentials")
    assert options["userVerification"] == "required"


@pytest.mark.parametrize("manner", MISBEHAVING)
async def test_a_passkey_made_otherwise_is_refused(anna: Resident, manner: dict[str, Any]) -> None:
    options = data(await anna.post("/passkeys/register/options"))
    credential = Authenticator().behaving(**manner).create(options)

    error(await anna.post("/passkeys/register/verify", credential=credential), 401)

    assert await anna.get("/passkeys") == []


@pytest.mark.parametrize("manner", [*MISBEHAVING, {"spoils_signature": True}])
async def test_a_signature_made_otherwise_signs_nobody_in(
    anna: Resident, town: Town, manner: dict[str, Any]
) -> None:
    phone = Authenticator()
    await anna.add_passkey(phone)
    credential = phone.behaving(**manner).get(await _asked(town))

    refusal = error(await _sign_in(town, credential), 401)

    assert refusal["code"] == "UNAUTHORIZED"


async def test_a_registration_is_no_sign_in_and_the_other_way_round(
    anna: Resident, town: Town
) -> None:
    phone = Authenticator()
    await anna.add_passkey(phone)
    asked_to_register = data(await anna.post("/passkeys/register/options"))
    asked_to_sign_in = await _asked(town)

    error(await _sign_in(town, phone.get(asked_to_register)), 401)
    other = Authenticator().create({**asked_to_register, **asked_to_sign_in})
    answer = await anna.post("/passkeys/register/verify", credential=other)

    assert error(answer, 401)["code"] == "UNAUTHORIZED"


async def test_a_challenge_is_answered_once(anna: Resident, town: Town) -> None:
    phone = Authenticator()
    await anna.add_passkey(phone)
    options = await _asked(town)
    data(await _sign_in(town, phone.get(options)))

    assert error(await _sign_in(town, phone.get(options)), 401)["code"] == "UNAUTHORIZED"


async def test_a_challenge_is_answered_once_by_many_at_the_same_time(
    anna: Resident, town: Town
) -> None:
    phone = Authenticator(is_synced=True).behaving(counts=False)
    await anna.add_passkey(phone)
    credential = phone.get(await _asked(town))

    answers = await asyncio.gather(*(_sign_in(town, credential) for _ in range(4)))

    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401]


async def test_a_challenge_is_over_after_its_time(anna: Resident, town: Town) -> None:
    phone = Authenticator()
    await anna.add_passkey(phone)
    options = await _asked(town)
    await anna.database.execute(
        "UPDATE identity.passkey_ceremonies SET expires_at = clock_timestamp()"
    )

    assert error(await _sign_in(town, phone.get(options)), 401)["code"] == "UNAUTHORIZED"


async def test_a_copy_of_a_passkey_that_counts_is_noticed(anna: Resident, town: Town) -> None:
    phone = Authenticator()
    await anna.add_passkey(phone)
    copy = phone.behaving()
    data(await _sign_in(town, phone.get(await _asked(town))))

    assert error(await _sign_in(town, copy.get(await _asked(town))), 401)["code"] == "UNAUTHORIZED"


async def test_a_passkey_says_whose_it_is(anna: Resident, town: Town) -> None:
    ben = await settled(town, anna.database, name="Ben")
    phone = Authenticator()
    await anna.add_passkey(phone)
    phone.user_handle = ben.user_id.bytes
    foreign = phone.get(await _asked(town))
    phone.user_handle = b""
    silent = phone.get(await _asked(town))

    error(await _sign_in(town, foreign), 401)
    assert error(await _sign_in(town, silent), 401)["code"] == "UNAUTHORIZED"


async def test_a_passkey_is_one_persons(anna: Resident, town: Town) -> None:
    ben = await settled(town, anna.database, name="Ben")
    phone = Authenticator()
    await anna.add_passkey(phone)
    options = data(await ben.post("/passkeys/register/options"))
    credential = phone.behaving(reuses_id=True).create(options)

    refusal = error(await ben.post("/passkeys/register/verify", credential=credential), 409)

    assert refusal["code"] == "ALREADY_ENROLLED"
    assert await ben.get("/passkeys") == []


async def test_a_passkey_has_the_id_that_its_authenticator_says(anna: Resident) -> None:
    options = data(await anna.post("/passkeys/register/options"))
    credential = Authenticator().create(options)
    other_id = packed(b"0" * 32)

    answer = await anna.post(
        "/passkeys/register/verify", credential={**credential, "id": other_id, "rawId": other_id}
    )

    assert error(answer, 401)["code"] == "UNAUTHORIZED"


async def test_the_same_passkey_is_not_added_twice(anna: Resident) -> None:
    phone = Authenticator()
    first = data(await anna.post("/passkeys/register/options"))
    credential = phone.create(first)
    data(await anna.post("/passkeys/register/verify", credential=credential), 201)

    error(await anna.post("/passkeys/register/verify", credential=credential), 401)

    assert len(await anna.get("/passkeys")) == 1


async def test_what_was_asked_by_one_session_is_not_answered_by_another(
    anna: Resident, town: Town
) -> None:
    ben = await settled(town, anna.database, name="Ben")
    options = data(await anna.post("/passkeys/register/options"))

    credential = Authenticator().create(options)

    answer = await ben.post("/passkeys/register/verify", credential=credential)

    assert error(answer, 401)["code"] == "UNAUTHORIZED"


async def test_an_old_session_has_to_step_up_before_it_adds_one(anna: Resident) -> None:
    await anna.grow_old()

    refusal = error(await anna.post("/passkeys/register/options"), 403)

    assert refusal["code"] == "STEP_UP_REQUIRED"


async def test_nobody_has_more_than_twenty(anna: Resident) -> None:
    await anna.add_passkey(Authenticator())
    await anna.database.execute(
        "INSERT INTO identity.passkeys (id, user_id, credential_id, public_key, sign_count, "
        "is_synced, transports, name, added_at) SELECT gen_random_uuid(), user_id, "
        "credential_id || number::text::bytea, public_key, 0, false, '{}', 'More', "
        "clock_timestamp() FROM identity.passkeys, generate_series(1, 19) AS number "
        "WHERE user_id = $1",
        anna.user_id,
    )

    refusal = error(await anna.post("/passkeys/register/options"), 409)

    assert refusal["code"] == "TOO_MANY_PASSKEYS"


@pytest.mark.parametrize("name", ["", " ", "two\nlines", "x" * 201])
async def test_a_name_is_a_line_of_text(anna: Resident, name: str) -> None:
    options = data(await anna.post("/passkeys/register/options"))
    credential = Authenticator().create(options)

    answer = await anna.post("/passkeys/register/verify", credential=credential, name=name)

    assert "name" in error(answer, 400)["details"]["fields"]


async def test_adding_one_ends_the_other_sessions(anna: Resident) -> None:
    elsewhere = await anna.again()

    await anna.add_passkey(Authenticator())

    error(await elsewhere.send("GET", "/mfa"), 401)
    assert (await anna.get("/mfa"))["passkeys"] == 1


async def test_with_a_passkey_the_password_is_not_enough_any_more(
    anna: Resident, town: Town
) -> None:
    phone = Authenticator()
    await anna.add_passkey(phone)
    challenge = data(await anna.sign_in(), 202)
    assert challenge["factors"] == ["passkey", "recovery_code"]
    (allowed,) = challenge["passkey_options"]["allowCredentials"]
    assert allowed["id"] == packed(phone.credential_id)

    login = data(
        await town.post(
            "/auth/mfa/verify",
            challenge=challenge["challenge"],
            passkey=phone.get(challenge["passkey_options"]),
        )
    )

    assert login["user"]["id"] == str(anna.user_id)


async def test_a_passkey_answers_the_challenge_it_was_asked_with(
    anna: Resident, town: Town
) -> None:
    phone = Authenticator()
    await anna.add_passkey(phone)
    one, other = [data(await anna.sign_in(), 202) for _ in range(2)]
    credential = phone.get(one["passkey_options"])

    async def verify(challenge: Any) -> httpx2.Response:
        body = {"challenge": challenge["challenge"], "passkey": credential}
        return await town.post("/auth/mfa/verify", **body)

    error(await verify(other), 401)
    assert data(await verify(one))


async def test_five_wrong_passkeys_end_a_challenge(anna: Resident, town: Town) -> None:
    phone = Authenticator()
    await anna.add_passkey(phone)
    challenge = data(await anna.sign_in(), 202)
    wrong = phone.behaving(spoils_signature=True).get(challenge["passkey_options"])
    for _ in range(5):
        body = {"challenge": challenge["challenge"], "passkey": wrong}
        error(await town.post("/auth/mfa/verify", **body), 401)

    body = {"challenge": challenge["challenge"], "otp": anna.recovery_codes[0]}

    assert error(await town.post("/auth/mfa/verify", **body), 401)["code"] == "UNAUTHORIZED"


async def test_removing_one_takes_a_factor(anna: Resident, town: Town) -> None:
    phone = Authenticator()
    added = await anna.add_passkey(phone)
    path = f"/passkeys/{added['id']}"

    refusal = error(await anna.send("DELETE", path), 403)
    credential = phone.get(data(await anna.post("/step-up/options")))
    data(await anna.post("/step-up", passkey=credential))
    removed = data(await anna.send("DELETE", path))

    assert refusal["code"] == "STEP_UP_REQUIRED"
    assert removed == {"id": added["id"], "removed": True}
    assert not (await anna.get("/mfa"))["enrolled"]
    error(await _sign_in(town, phone.get(await _asked(town))), 401)
    data(await anna.sign_in())
    assert "second_factor_removed" in await anna.events()


async def test_anothers_passkey_is_not_found(anna: Resident, town: Town) -> None:
    ben = await settled(town, anna.database, name="Ben")
    added = await anna.add_passkey(Authenticator())
    await ben.enroll()
    data(await ben.post("/step-up", otp=await ben.code()))

    for passkey_id in (added["id"], str(uuid4())):
        assert error(await ben.send("DELETE", f"/passkeys/{passkey_id}"), 404)["code"] == (
            "NOT_FOUND"
        )
    assert len(await anna.get("/passkeys")) == 1


async def test_what_is_lost_on_the_way_is_done_once(
    forgetful: ForgetfulDatabase, town: Town, superuser: Superuser
) -> None:
    async with founded(forgetful, KeyFolder(town.keys.folder)) as forgetful_town:
        anna = await settled(forgetful_town, superuser)
        phone = Authenticator()
        added = await anna.add_passkey(phone)
        data(await _sign_in(forgetful_town, phone.get(await _asked(forgetful_town))))
        credential = phone.get(data(await anna.post("/step-up/options")))
        data(await anna.post("/step-up", passkey=credential))
        data(await anna.send("DELETE", f"/passkeys/{added['id']}"))

        assert len(added["recovery_codes"]) == 10
        events = await anna.events()
        once = ("second_factor_added", "second_factor_removed")
        assert [events.count(name) for name in once] == [1, 1]


async def test_a_frozen_user_signs_in_with_no_passkey(
    anna: Resident, town: Town, db: Database
) -> None:
    phone = Authenticator()
    await anna.add_passkey(phone)
    compliance = await staff(town, db, COMPLIANCE)
    data(await compliance.ask("POST", f"/admin/users/{anna.user_id}/freeze", reason="Stolen."))

    answer = await _sign_in(town, phone.get(await _asked(town)))

    assert error(answer, 403)["code"] == "USER_FROZEN"
