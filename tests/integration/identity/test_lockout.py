"""Sign-ins that back off after failures, over HTTP and on a real database."""

from __future__ import annotations

import asyncio
from collections import Counter

import asyncpg
import httpx2
import pytest

from guilder.identity.domain.lockout import Backoff, Backoffs, Guessing
from guilder.identity.service.lockout import Lockout
from guilder.identity.service.session_clearing import SessionClearing
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys
from tests.support.portal import settle
from tests.support.town import PASSWORD, Town, data, error

Superuser = asyncpg.Connection
WRONG = "WrongPass123"
_numbers = iter(range(10_000, 99_999))
_addresses = (f"198.51.{third}.{fourth}" for third in range(256) for fourth in range(1, 255))


@pytest.fixture
def elsewhere(town: Town) -> Town:
    """The town, called from an address of the test's own."""
    return town.at(next(_addresses))


async def resident(town: Town, name: str) -> str:
    """A new user's email."""
    data(await town.register(name, f"+9198764{next(_numbers)}"), 201)
    return f"{name.lower()}@example.com"


async def guess(town: Town, email: str, *, times: int, **more: object) -> list[int]:
    """The statuses of wrong passwords, one after the other."""
    return [
        (await town.login(email=email, password=WRONG, **more)).status_code for _ in range(times)
    ]


async def wait_over(superuser: Superuser) -> None:
    """Let all the waiting be over; what has failed stays counted."""
    await superuser.execute(
        "UPDATE identity.sign_in_failures SET blocked_until = clock_timestamp() "
        "WHERE blocked_until > clock_timestamp()"
    )


async def longest_wait(superuser: Superuser) -> int:
    """How long the longest waiting that goes on is, from its beginning."""
    seconds: int = await superuser.fetchval(
        "SELECT max(extract(epoch FROM blocked_until - last_at))::int "
        "FROM identity.sign_in_failures WHERE blocked_until > clock_timestamp()"
    )
    return seconds


def seconds_to_wait(answer: httpx2.Response) -> int:
    refusal = error(answer, 429)
    assert refusal["code"] == "TOO_MANY_SIGN_INS"
    assert answer.headers["retry-after"] == str(refusal["details"]["retry_after_s"])
    return int(answer.headers["retry-after"])


async def test_the_sixth_guess_has_to_wait(elsewhere: Town) -> None:
    email = await resident(elsewhere, "Omkar")

    assert await guess(elsewhere, email, times=6) == [401] * 5 + [429]
    right = await elsewhere.login(email=email)

    assert 0 < seconds_to_wait(right) <= 30


async def test_each_failure_after_a_wait_waits_longer(
    elsewhere: Town, superuser: Superuser
) -> None:
    email = await resident(elsewhere, "Padma")
    await guess(elsewhere, email, times=5)
    waits = []

    for _ in range(6):
        await wait_over(superuser)
        assert await guess(elsewhere, email, times=1) == [401]
        assert seconds_to_wait(await elsewhere.login(email=email))
        waits.append(await longest_wait(superuser))

    assert waits == [60, 120, 240, 480, 900, 900]


async def test_a_right_password_after_the_wait_forgets_the_failures(
    elsewhere: Town, superuser: Superuser
) -> None:
    email = await resident(elsewhere, "Pankaj")
    await guess(elsewhere, email, times=5)
    await wait_over(superuser)

    data(await elsewhere.login(email=email))

    assert await guess(elsewhere, email, times=6) == [401] * 5 + [429]


async def test_being_refused_does_not_make_the_wait_longer(elsewhere: Town) -> None:
    email = await resident(elsewhere, "Parul")
    await guess(elsewhere, email, times=5)

    waits = [seconds_to_wait(await elsewhere.login(email=email)) for _ in range(5)]

    assert waits == sorted(waits, reverse=True)


@pytest.mark.parametrize(
    "name",
    [
        {"email": "nobody-at-all@example.com"},
        {"email": "no address at all"},
        {"phone": "+919876400001"},
        {"phone": "12"},
    ],
    ids=repr,
)
async def test_a_name_that_nobody_has_is_answered_alike(
    name: dict[str, str], elsewhere: Town
) -> None:
    email = await resident(elsewhere, f"Somebody{next(_numbers)}")

    answers = {
        who: [await elsewhere.login(password=WRONG, **given) for _ in range(6)]
        for who, given in (("nobody", name), ("somebody", {"email": email}))
    }

    for nobody, somebody in zip(*answers.values(), strict=True):
        assert nobody.status_code == somebody.status_code
        told = [answer.json()["error"] for answer in (nobody, somebody)]
        assert told[0]["code"] == told[1]["code"]
        assert told[0]["message"] == told[1]["message"]
        assert told[0].get("details", {}).keys() == told[1].get("details", {}).keys()
    assert answers["nobody"][-1].status_code == 429


async def test_no_spelling_of_a_name_is_a_way_around(elsewhere: Town) -> None:
    email = await resident(elsewhere, "Pooja")
    spellings = [email, email.upper(), f" {email}", f"{email} ", email.title(), email]

    answers = [(await elsewhere.login(email=name, password=WRONG)) for name in spellings]

    assert [answer.status_code for answer in answers] == [401] * 5 + [429]


async def test_no_account_type_is_a_way_around(elsewhere: Town) -> None:
    email = await resident(elsewhere, "Prem")
    types = ["customer", "user_admin", "staff", "customer", "user_admin", "staff"]

    answers = [await elsewhere.login(email=email, password=WRONG, account_type=t) for t in types]

    assert [answer.status_code for answer in answers] == [401] * 5 + [429]


async def test_email_and_phone_do_not_tell_that_they_are_one_persons(elsewhere: Town) -> None:
    phone = f"+9198764{next(_numbers)}"
    data(await elsewhere.register("Priti", phone), 201)
    await guess(elsewhere, "priti@example.com", times=6)

    assert (await elsewhere.login(phone=phone, password=WRONG)).status_code == 401


async def test_parallel_guesses_are_no_way_around(elsewhere: Town) -> None:
    email = await resident(elsewhere, "Rahul")

    answers = await asyncio.gather(
        *(elsewhere.login(email=email, password=WRONG) for _ in range(30))
    )

    assert Counter(answer.status_code for answer in answers) == {401: 5, 429: 25}


async def test_parallel_sign_ins_of_one_person_succeed(elsewhere: Town) -> None:
    email = await resident(elsewhere, "Rani")

    answers = await asyncio.gather(*(elsewhere.login(email=email) for _ in range(4)))

    assert [answer.status_code for answer in answers] == [200] * 4


async def test_a_stranger_elsewhere_does_not_hold_somebody_up_at_once(town: Town) -> None:
    here, there = town.at(next(_addresses)), town.at(next(_addresses))
    email = await resident(here, "Ravi")

    assert (await guess(there, email, times=6))[-1] == 429

    data(await here.login(email=email))


async def test_guesses_from_everywhere_are_counted_together(
    town: Town, superuser: Superuser
) -> None:
    email = await resident(town, "Rekha")
    many = [town.at(next(_addresses)) for _ in range(6)]

    statuses = [status for each in many for status in await guess(each, email, times=4)]

    assert statuses == [401] * 20 + [429] * 4


async def test_a_remembered_device_is_not_held_up_by_strangers(town: Town) -> None:
    email = await resident(town, "Ritu")
    home = town.at(next(_addresses))
    device = data(await home.login(email=email, remember_device=True))["device_token"]
    for _ in range(6):
        await guess(town.at(next(_addresses)), email, times=4)

    assert (await home.login(email=email)).status_code == 429
    data(await home.login(email=email, device_token=device))


async def test_a_remembered_device_has_failures_of_its_own(
    elsewhere: Town, superuser: Superuser
) -> None:
    email = await resident(elsewhere, "Rohan")
    device = data(await elsewhere.login(email=email, remember_device=True))["device_token"]

    assert await guess(elsewhere, email, times=6, device_token=device) == [401] * 5 + [429]

    data(await elsewhere.login(email=email))


async def test_another_persons_device_is_no_way_around(elsewhere: Town) -> None:
    mine, hers = await resident(elsewhere, "Sagar"), await resident(elsewhere, "Sita")
    device = data(await elsewhere.login(email=mine, remember_device=True))["device_token"]

    assert await guess(elsewhere, hers, times=6, device_token=device) == [401] * 5 + [429]


async def test_an_address_that_tries_many_names_has_to_wait(town: Town) -> None:
    here = town.at(next(_addresses))
    email = await resident(here, "Suman")
    statuses = [401]

    while statuses[-1] == 401 and len(statuses) < 500:
        statuses += await guess(here, f"stuffed-{len(statuses)}@example.com", times=1)

    assert len(statuses) > 100
    assert seconds_to_wait(await here.login(email=email))
    data(await town.at(next(_addresses)).login(email=email))


async def test_an_address_that_tries_codes_for_many_names_has_to_wait(town: Town) -> None:
    here = town.at(next(_addresses))
    statuses = [400]

    while statuses[-1] == 400 and len(statuses) < 500:
        phone = f"+9198119{len(statuses):05}"
        statuses.append(
            (await here.post("/auth/otp/verify", phone=phone, otp="123456")).status_code
        )

    assert len(statuses) > Backoffs().address.at_once
    assert seconds_to_wait(await here.login(email="nobody.at.all@example.com"))
    elsewhere = town.at(next(_addresses))
    tried = await elsewhere.post("/auth/otp/verify", phone="+919811900000", otp="123456")
    assert error(tried, 400)["code"] == "INVALID_OTP"


async def test_a_success_is_no_failure_of_its_address(town: Town, superuser: Superuser) -> None:
    here = town.at(next(_addresses))
    email = await resident(here, "Sunil")
    before = await superuser.fetchval("SELECT count(*) FROM identity.sign_in_failures")

    data(await here.login(email=email))

    rows = await superuser.fetch("SELECT failures, blocked_until FROM identity.sign_in_failures")
    assert len(rows) == before + 2
    assert sum(row["failures"] == 0 and row["blocked_until"] is None for row in rows) >= 2


async def test_nobody_can_read_in_the_database_who_was_guessed_at(
    elsewhere: Town, superuser: Superuser
) -> None:
    await guess(elsewhere, "secret-admirer@example.com", times=1)

    kept = await superuser.fetchval(
        "SELECT string_agg(f::text, ' ') FROM identity.sign_in_failures f"
    )

    assert "admirer" not in kept
    assert "198.51" not in kept


async def test_an_attempt_that_was_never_judged_does_not_count(
    db: Database, town: Town, superuser: Superuser
) -> None:
    lockout = Lockout(db=db, keys=OuterKeys(town.keys.folder), backoffs=Backoffs(name_here=TWO))
    here = next(_addresses)

    for _ in range(5):
        attempt = await db.run(
            lambda tx: lockout.admit(
                tx, guessing=Guessing.PASSWORD, name="swati", client_address=here
            )
        )
        await lockout.withdrawn(attempt)

    assert (
        await superuser.fetchval(
            "SELECT max(failures) FROM identity.sign_in_failures WHERE id = ANY($1)",
            list(attempt.counted),
        )
        == 0
    )


TWO = Backoff(free=2)


async def test_what_is_old_is_forgotten(
    db: Database, elsewhere: Town, superuser: Superuser
) -> None:
    email = await resident(elsewhere, "Tara")
    await guess(elsewhere, email, times=2)
    data(await elsewhere.login(email=email, remember_device=True))
    recent = data(await elsewhere.login(email=email))
    await superuser.execute(
        """
        UPDATE identity.sign_in_failures SET last_at = last_at - interval '25 hours';
        UPDATE identity.devices SET last_used_at = last_used_at - interval '181 days';
        UPDATE identity.remembered_devices SET last_used_at = last_used_at - interval '181 days';
        UPDATE identity.sessions SET started_at = started_at - interval '40 days',
            expires_at = expires_at - interval '40 days'
        WHERE id <> (SELECT max(id::text)::uuid FROM identity.sessions);
        UPDATE identity.refresh_tokens SET expires_at = expires_at - interval '40 days'
        WHERE session_id <> (SELECT max(id::text)::uuid FROM identity.sessions);
        """
    )
    lockout = Lockout(db=db, keys=OuterKeys(elsewhere.keys.folder))

    await SessionClearing(db=db, lockout=lockout).clear()

    left = {
        table: await superuser.fetchval(f"SELECT count(*) FROM identity.{table}")
        for table in (
            "sign_in_failures",
            "devices",
            "remembered_devices",
            "sessions",
            "refresh_tokens",
        )
    }
    assert left == {
        "sign_in_failures": 0,
        "devices": 0,
        "remembered_devices": 0,
        "sessions": 1,
        "refresh_tokens": 1,
    }
    assert data(await elsewhere.post("/auth/refresh", refresh_token=recent["refresh_token"]))


@pytest.mark.parametrize("name", ["password change|{}", "{}"])
async def test_no_name_that_a_stranger_writes_holds_up_a_change_of_password(
    name: str, town: Town
) -> None:
    anna = await settle(town, "Anna")

    for _ in range(5):
        guesses = await guess(town.at(next(_addresses)), name.format(anna.id), times=4)
        assert set(guesses) == {401}
    change = await anna.app.post(
        "/auth/password/change",
        current_password=PASSWORD,
        new_password="Another long passphrase",
    )

    assert data(change, 202)["verification_required"] is True
