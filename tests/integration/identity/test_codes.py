"""One-time codes over HTTP, on a real database: signing in with one, proving an address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio

from guilder.identity import module
from guilder.identity.service.named_jobs import SEND_CODE
from guilder.kernel.ids import UserId
from guilder.platform.db import Database, Tx
from guilder.platform.envelopes import OuterKeys
from guilder.platform.jobs import Held, Task, queue
from guilder.platform.keys import KeyFolder
from tests.support.enrolled import settled
from tests.support.portal import Resident, other_than, settle
from tests.support.postbag import Sent, sent_to, work_off
from tests.support.town import CHEAP, Town, data, error

Superuser = asyncpg.Connection

AGO = "UPDATE identity.code_issues SET issued_at = issued_at - interval '31 seconds'"
OVER = "UPDATE identity.one_time_codes SET expires_at = clock_timestamp()"
COUNTS = """
    SELECT (SELECT count(*) FROM platform.jobs) AS jobs,
        (SELECT count(*) FROM identity.one_time_codes) AS codes,
        (SELECT count(*) FROM identity.code_issues) AS issues,
        (SELECT count(*) FROM platform.outbox) AS events
"""


def tasks_of(db: Database, keys: KeyFolder) -> tuple[Task, ...]:
    return module.build(
        db=db, keys=keys, contacts=OuterKeys(keys.folder), password_cost=CHEAP
    ).tasks


@pytest_asyncio.fixture
async def anna(town: Town, superuser: Superuser) -> AsyncIterator[Resident]:
    anna = await settle(town, "Anna")
    yield anna
    await superuser.execute("DELETE FROM platform.jobs")


class Post:
    """Asks for codes and opens what arrives."""

    def __init__(self, db: Database, town: Town) -> None:
        self.db = db
        self.town = town
        self.keys = OuterKeys(town.keys.folder)

    async def sent(self, anna: Resident) -> list[Sent]:
        await work_off(self.db, tasks_of(self.db, self.town.keys))
        return await sent_to(self.db, anna.id, keys=self.keys)

    async def login_code(self, anna: Resident, **name: str) -> str:
        name = name or {"phone": anna.phone}
        data(await self.town.post("/auth/otp/request", **name), 202)
        return (await self.sent(anna))[-1].code


@pytest.fixture
def post(db: Database, town: Town) -> Post:
    return Post(db, town)


@pytest.mark.parametrize(("name", "channel"), [("phone", "sms"), ("email", "email")])
async def test_code_that_was_sent_signs_in_once(
    name: str, channel: str, town: Town, post: Post, anna: Resident
) -> None:
    named = {name: getattr(anna, name)}
    asked = data(await town.post("/auth/otp/request", **named), 202)
    (sent,) = await post.sent(anna)

    login = data(await town.post("/auth/otp/verify", **named, otp=sent.code))
    again = await town.post("/auth/otp/verify", **named, otp=sent.code)

    assert asked["expires_in"] == 300
    assert (sent.purpose, sent.channel) == ("login", channel)
    assert sent.code not in sent.text
    assert login["user"]["id"] == str(anna.id)
    assert login["user"]["account_type"] == "customer"
    assert {"token", "refresh_token"} <= set(login)
    assert (await town.verifier.verify(login["token"])).user_id == anna.id
    assert error(again, 400)["code"] == "INVALID_OTP"


async def test_signing_in_with_a_code_proves_the_address(
    town: Town, post: Post, anna: Resident, superuser: Superuser
) -> None:
    code = await post.login_code(anna)

    data(await town.post("/auth/otp/verify", phone=anna.phone, otp=code))

    row = await superuser.fetchrow(
        "SELECT status, email_verified_at, phone_verified_at FROM identity.users WHERE id = $1",
        anna.id,
    )
    assert row["status"] == "active"
    assert row["phone_verified_at"] is not None
    assert row["email_verified_at"] is None


async def test_five_wrong_codes_void_the_right_one_though_they_come_at_once(
    town: Town, post: Post, anna: Resident
) -> None:
    code = await post.login_code(anna)

    wrong = await asyncio.gather(
        *(town.post("/auth/otp/verify", phone=anna.phone, otp=other_than(code)) for _ in range(20))
    )

    assert {answer.json()["error"]["code"] for answer in wrong} == {"INVALID_OTP"}
    right = await town.post("/auth/otp/verify", phone=anna.phone, otp=code)
    assert error(right, 400)["code"] == "INVALID_OTP"


async def test_one_of_twenty_sign_ins_with_one_code_succeeds(
    town: Town, post: Post, anna: Resident
) -> None:
    code = await post.login_code(anna)

    answers = await asyncio.gather(
        *(town.post("/auth/otp/verify", phone=anna.phone, otp=code) for _ in range(5))
    )

    assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400, 400]


async def test_code_is_void_after_its_time_and_another_takes_its_place(
    town: Town, post: Post, anna: Resident, superuser: Superuser
) -> None:
    late = await post.login_code(anna)
    await superuser.execute(OVER)
    refused = await town.post("/auth/otp/verify", phone=anna.phone, otp=late)
    await superuser.execute(AGO)

    code = await post.login_code(anna)

    assert error(refused, 400)["code"] == "INVALID_OTP"
    data(await town.post("/auth/otp/verify", phone=anna.phone, otp=code))


async def test_code_for_the_phone_does_not_open_the_email_nor_another_user(
    town: Town, post: Post, anna: Resident
) -> None:
    ben = await settle(town, "Ben")
    code = await post.login_code(anna)

    for name in ({"email": anna.email}, {"phone": ben.phone}):
        answer = await town.post("/auth/otp/verify", **name, otp=code)
        assert error(answer, 400)["code"] == "INVALID_OTP"


async def test_codes_are_sent_with_pauses_and_five_times_an_hour(
    town: Town, post: Post, anna: Resident, superuser: Superuser
) -> None:
    for _ in range(2):
        data(await town.post("/auth/otp/request", phone=anna.phone), 202)
        assert len(await post.sent(anna)) == 1

    for _ in range(8):
        await superuser.execute(AGO)
        data(await town.post("/auth/otp/request", phone=anna.phone), 202)
        await post.sent(anna)

    assert len(await post.sent(anna)) == 5


async def test_a_wish_that_is_not_granted_leaves_the_code_that_was_sent_as_it_is(
    town: Town, post: Post, anna: Resident
) -> None:
    code = await post.login_code(anna)
    data(await town.post("/auth/otp/request", phone=anna.phone), 202)
    await post.sent(anna)

    answer = await town.post("/auth/otp/verify", phone=anna.phone, otp=code)

    assert data(answer)["user"]["id"] == str(anna.id)


async def test_asking_and_trying_do_the_same_for_names_that_nobody_has(
    town: Town, anna: Resident, superuser: Superuser
) -> None:
    grown = []
    answers = []
    for phone in (anna.phone, "+919811099999"):
        before = await superuser.fetchrow(COUNTS)
        asked = await town.post("/auth/otp/request", phone=phone)
        tried = await town.post("/auth/otp/verify", phone=phone, otp="123456")
        after = await superuser.fetchrow(COUNTS)
        assert before is not None
        assert after is not None
        grown.append([now - then for now, then in zip(after, before, strict=True)])
        answers.append((asked.status_code, asked.json(), tried.status_code, tried.json()["error"]))
        answers[-1][3].pop("request_id")

    assert grown[0] == grown[1]
    assert answers[0] == answers[1]


async def test_nothing_is_sent_to_names_that_nobody_has_nor_to_staff(
    db: Database, town: Town, post: Post, anna: Resident, superuser: Superuser
) -> None:
    staff = module.build_staff(db=db, keys=town.keys, contacts=OuterKeys(town.keys.folder))
    await staff.appoint(
        email="lena@guilder.test", role="admin", full_name="Lena Berg", password="NewSecurePass456"
    )
    before = await superuser.fetchval("SELECT count(*) FROM platform.outbox")

    for name in ({"email": "nobody@example.com"}, {"email": "lena@guilder.test"}, {"phone": "7"}):
        data(await town.post("/auth/otp/request", **name), 202)
    await post.sent(anna)

    assert await superuser.fetchval("SELECT count(*) FROM platform.outbox") == before


@pytest.mark.parametrize("body", [{}, {"email": "a@example.com", "phone": "+919876500001"}])
async def test_one_name_has_to_be_given(body: dict[str, str], town: Town) -> None:
    for path, more in (("/auth/otp/request", {}), ("/auth/otp/verify", {"otp": "123456"})):
        assert error(await town.post(path, **body, **more), 400)["code"] == "VALIDATION_ERROR"


async def test_jobs_codes_and_digests_tell_nobodys_name(
    town: Town, post: Post, anna: Resident, superuser: Superuser
) -> None:
    data(await town.post("/auth/otp/request", email=anna.email), 202)
    (sent,) = await post.sent(anna)

    kept = await superuser.fetchval(
        "SELECT (SELECT string_agg(j::text, '') FROM platform.jobs j) "
        "|| (SELECT string_agg(c::text, '') FROM identity.one_time_codes c) "
        "|| (SELECT string_agg(i::text, '') FROM identity.code_issues i)"
    )

    for secret in (anna.email, anna.email.encode().hex(), sent.code.encode().hex()):
        assert secret not in kept


class Dying(Held):
    """A job whose worker dies before it commits."""

    async def commit(self, work: Callable[[Tx], Awaitable[Any]]) -> Any:
        raise ConnectionError(f"no commit of {work}")


async def test_job_whose_worker_died_sends_one_code_that_works(
    db: Database, town: Town, anna: Resident, post: Post, superuser: Superuser
) -> None:
    data(await town.post("/auth/otp/request", phone=anna.phone), 202)
    task = next(task for task in tasks_of(db, town.keys) if task.name == SEND_CODE)
    (job,) = await db.run(lambda tx: queue.claim(tx, {task.name: 30.0}, at_most=1))
    with pytest.raises(ConnectionError):
        await task.perform(Dying(db, job, lease_s=30.0))
    await db.run(lambda tx: queue.give_back(tx, job))

    (sent,) = await post.sent(anna)

    answer = await town.post("/auth/otp/verify", phone=anna.phone, otp=sent.code)
    assert data(answer)["user"]["id"] == str(anna.id)


@pytest.mark.parametrize(("contact", "channel"), [("email", "email"), ("phone", "sms")])
async def test_user_proves_an_address_with_the_code_sent_to_it(
    contact: str, channel: str, post: Post, anna: Resident, superuser: Superuser
) -> None:
    asked = data(await anna.app.post("/auth/verify", contact=contact), 202)
    (sent,) = await post.sent(anna)

    wrong = await anna.app.post("/auth/verify", contact=contact, otp=other_than(sent.code))
    standing = data(await anna.app.post("/auth/verify", contact=contact, otp=sent.code))
    again = await anna.app.post("/auth/verify", contact=contact, otp=sent.code)

    assert asked["expires_in"] == 300
    assert (sent.purpose, sent.channel) == (contact, channel)
    assert error(wrong, 400)["code"] == error(again, 400)["code"] == "INVALID_OTP"
    assert [name for name, at in standing.items() if at] == [f"{contact}_verified_at"]
    me = data(await anna.app.get("/auth/me"))
    assert [name for name in ("email", "phone") if me[f"{name}_verified"]] == [contact]
    told = await superuser.fetchval(
        "SELECT count(*) FROM platform.outbox WHERE key = $1 "
        "AND type = 'com.guilder.user.contact_verified'",
        str(anna.id),
    )
    assert told == 1


async def test_address_code_is_only_for_the_user_who_asked(
    town: Town, post: Post, anna: Resident
) -> None:
    ben = await settle(town, "Ben")
    data(await anna.app.post("/auth/verify", contact="email"), 202)
    (sent,) = await post.sent(anna)

    by_ben = await ben.app.post("/auth/verify", contact="email", otp=sent.code)
    to_sign_in = await town.post("/auth/otp/verify", email=anna.email, otp=sent.code)

    assert error(by_ben, 400)["code"] == error(to_sign_in, 400)["code"] == "INVALID_OTP"


async def test_asking_again_at_once_has_to_wait(anna: Resident) -> None:
    data(await anna.app.post("/auth/verify", contact="phone"), 202)

    refusal = await anna.app.post("/auth/verify", contact="phone")

    assert error(refusal, 429)["code"] == "TOO_MANY_CODES_SENT"
    assert refusal.headers["retry-after"] == "30"


async def test_user_without_a_phone_has_none_to_prove(db: Database, town: Town) -> None:
    staff = module.build_staff(db=db, keys=town.keys, contacts=OuterKeys(town.keys.folder))
    email = f"{uuid4().hex}@guilder.test"
    await staff.appoint(
        email=email, role="support", full_name="Mira Berg", password="NewSecurePass456"
    )
    token = data(await town.login(email=email, password="NewSecurePass456"))["token"]

    answer = await town.http.post(
        "/api/v1/auth/verify",
        json={"contact": "phone"},
        headers={"Authorization": f"Bearer {token}"},
    )

    assert error(answer, 400)["details"]["fields"] == {
        "contact": "is an address that this user does not have"
    }


async def test_clearing_forgets_what_was_sent_a_day_ago(
    db: Database, town: Town, post: Post, anna: Resident, superuser: Superuser
) -> None:
    await post.login_code(anna)
    await superuser.execute(OVER)
    await superuser.execute(
        "UPDATE identity.code_issues SET issued_at = issued_at - interval '25 hours'"
    )
    identity = module.build(
        db=db, keys=town.keys, contacts=OuterKeys(town.keys.folder), password_cost=CHEAP
    )

    (clear,) = [job for job in identity.jobs if job.name == "identity.clear_codes"]
    await clear.run()

    left = "SELECT (SELECT count(*) FROM identity.one_time_codes) + count(*) FROM {}"
    assert await superuser.fetchval(left.format("identity.code_issues")) == 0


async def test_second_factor_is_asked_for_after_the_code(
    db: Database, town: Town, superuser: Superuser
) -> None:
    nina = await settled(town, superuser, name="Nina")
    await nina.enroll()
    keys = OuterKeys(town.keys.folder)

    async def login_code() -> str:
        await superuser.execute(AGO)
        data(await town.post("/auth/otp/request", email=nina.email), 202)
        await work_off(db, tasks_of(db, town.keys))
        return (await sent_to(db, UserId(nina.user_id), keys=keys))[-1].code

    named = {"email": nina.email}
    challenge = data(await town.post("/auth/otp/verify", **named, otp=await login_code()), 202)
    completed = await town.post(
        "/auth/mfa/verify", challenge=challenge["challenge"], otp=await nina.code()
    )
    await nina.wait_for_next_code()
    at_once = await town.post(
        "/auth/otp/verify", **named, otp=await login_code(), second_factor=await nina.code()
    )
    await nina.wait_for_next_code()
    wrong = await town.post(
        "/auth/otp/verify", **named, otp=await login_code(), second_factor=await nina.wrong_code()
    )

    assert challenge["mfa_required"] is True
    assert "token" not in challenge
    for signed_in in (completed, at_once):
        caller = await town.verifier.verify(data(signed_in)["token"])
        methods = await superuser.fetchval(
            "SELECT methods FROM identity.sessions WHERE id = $1", caller.session_id
        )
        assert methods == ["otp", "mfa"]
    assert error(wrong, 400)["code"] == "INVALID_OTP"


async def test_frozen_user_is_told_only_with_the_right_code(
    town: Town, post: Post, anna: Resident, superuser: Superuser
) -> None:
    code = await post.login_code(anna)
    await superuser.execute("UPDATE identity.users SET status = 'frozen' WHERE id = $1", anna.id)

    wrong = await town.post("/auth/otp/verify", phone=anna.phone, otp=other_than(code))
    right = await town.post("/auth/otp/verify", phone=anna.phone, otp=code)

    assert error(wrong, 400)["code"] == "INVALID_OTP"
    assert error(right, 403)["code"] == "USER_FROZEN"
    status = await superuser.fetchval(
        "SELECT status FROM identity.users WHERE id = $1", UUID(str(anna.id))
    )
    assert status == "frozen"
