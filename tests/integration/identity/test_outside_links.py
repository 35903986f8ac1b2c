"""Links to providers: who makes them, whom an email links, and that nobody is anybody else."""

from __future__ import annotations

import asyncio
from uuid import UUID

import asyncpg
import pytest

from guilder.identity.service.outside_sign_in import forget_links
from guilder.kernel.ids import UserId
from guilder.platform.db import Database
from tests.support.browser import Browser, linked
from tests.support.stranger import Person, Stranger
from tests.support.town import Town, data, error
from tests.support.townhall import Townsman, customer, staff

Superuser = asyncpg.Connection


async def verify_email(superuser: Superuser, person: Townsman) -> None:
    await superuser.execute(
        "UPDATE identity.users SET email_verified_at = now() WHERE id = $1", person.id
    )


async def test_a_customer_with_the_same_email_is_linked_when_both_sides_verified_it(
    city: Town, anybody: Person, superuser: Superuser
) -> None:
    anna = await customer(city)
    await verify_email(superuser, anna)
    anybody.email = anna.email.upper()

    first = data(await Browser(city).sign_in("google"))
    anybody.email = None
    again = data(await Browser(city).sign_in("google"))

    assert first["user"]["id"] == again["user"]["id"] == anna.id
    (link,) = data(await anna.ask("GET", "/auth/links"))
    assert (link["provider"], link["linked_by"]) == ("google", "email")
    assert link["last_used_at"] is not None
    linked_by = await superuser.fetchval(
        "SELECT data->>'linked_by' FROM platform.outbox WHERE key = $1 "
        "AND type = 'com.guilder.user.outside_identity_linked'",
        anna.id,
    )
    assert linked_by == "email"


@pytest.mark.parametrize("said", [False, None, "true", "false"])
async def test_an_email_that_the_provider_has_not_verified_links_nobody(
    city: Town, anybody: Person, superuser: Superuser, said: object
) -> None:
    anna = await customer(city)
    await verify_email(superuser, anna)
    anybody.email, anybody.email_verified = anna.email, said

    answer = await Browser(city).sign_in("google")

    assert error(answer, 403)["code"] == "NOT_LINKED"
    assert data(await anna.ask("GET", "/auth/links")) == []


async def test_an_email_that_was_not_verified_here_links_nobody(
    city: Town, anybody: Person
) -> None:
    anna = await customer(city)
    anybody.email = anna.email

    answer = await Browser(city).sign_in("google")

    assert error(answer, 403)["code"] == "NOT_LINKED"


async def test_staff_are_never_linked_by_email(
    city: Town, db: Database, anybody: Person, superuser: Superuser
) -> None:
    ben = await staff(city, db, "support")
    anna = await customer(city)
    for person in (ben, anna):
        await verify_email(superuser, person)
    await superuser.execute(
        "INSERT INTO identity.role_assignments (account_id, role) VALUES ($1, 'admin')", anna.id
    )

    for person in (ben, anna):
        anybody.email = person.email
        answer = await Browser(city).sign_in("google")
        assert error(answer, 403)["code"] == "NOT_LINKED"


async def test_strangers_are_refused_alike_whether_their_email_is_known_or_not(
    city: Town, anybody: Person
) -> None:
    anna = await customer(city)
    answers = []
    for email in (anna.email, "nobody-here@example.com", "no address at all", None):
        anybody.email = email
        answers.append(await Browser(city).sign_in("google"))

    errors = [error(answer, 403) for answer in answers]
    assert len({(found["code"], found["message"]) for found in errors}) == 1


async def test_a_session_that_has_ended_links_nothing(city: Town, anybody: Person) -> None:
    anna = await customer(city)
    browser = Browser(city)
    back = await browser.visit(await browser.leave_to_link("google", token=anna.token))
    await anna.ask("POST", "/auth/logout")

    assert error(await browser.come_back(back), 401)["code"] == "UNAUTHORIZED"


async def test_an_old_session_has_to_prove_itself_before_it_links_or_unlinks(
    city: Town, google: Stranger, anybody: Person, superuser: Superuser
) -> None:
    anna = await linked(city)
    session_id = (await city.verifier.verify(anna.token)).session_id
    await superuser.execute(
        "UPDATE identity.sessions SET started_at = started_at - interval '1 hour' WHERE id = $1",
        session_id,
    )

    linking = await anna.ask("POST", "/auth/oauth/acme/link")
    unlinking = await anna.ask("DELETE", "/auth/links/google")

    assert error(linking, 403)["code"] == error(unlinking, 403)["code"] == "STEP_UP_REQUIRED"


async def test_what_is_linked_to_one_user_is_not_linked_to_another(
    city: Town, google: Stranger, anybody: Person
) -> None:
    anna, ben = await linked(city), await customer(city, "Ben")

    answer = await Browser(city).link("google", token=ben.token)

    assert error(answer, 409)["code"] == "ALREADY_LINKED"
    assert data(await Browser(city).sign_in("google"))["user"]["id"] == anna.id


async def test_a_user_has_one_person_of_a_provider(
    city: Town, google: Stranger, anybody: Person
) -> None:
    anna = await linked(city)
    google.person = Person(f"{anybody.subject}99")

    answer = await Browser(city).link("google", token=anna.token)

    assert error(answer, 409)["code"] == "ALREADY_LINKED"


async def test_of_two_users_who_link_one_person_at_once_one_does(
    city: Town, google: Stranger, anybody: Person
) -> None:
    people = [await customer(city), await customer(city, "Ben")]

    answers = await asyncio.gather(
        *(Browser(city).link("google", token=person.token) for person in people)
    )

    assert sorted(answer.status_code for answer in answers) == [204, 409]


async def test_an_unlinked_provider_signs_nobody_in(
    city: Town, google: Stranger, anybody: Person
) -> None:
    anna = await linked(city)

    first = await anna.ask("DELETE", "/auth/links/google")
    again = await anna.ask("DELETE", "/auth/links/google")

    assert first.status_code == 204
    assert error(again, 404)["code"] == "NOT_FOUND"
    assert error(await Browser(city).sign_in("google"), 403)["code"] == "NOT_LINKED"


async def test_githubs_people_are_known_by_their_number(
    city: Town, google: Stranger, anybody: Person, superuser: Superuser
) -> None:
    anna = await customer(city)
    await verify_email(superuser, anna)
    anybody.email = anna.email

    first = data(await Browser(city).sign_in("github"))
    anybody.email = "another@example.com"
    again = data(await Browser(city).sign_in("github"))

    assert first["user"]["id"] == again["user"]["id"] == anna.id


async def test_an_email_that_github_has_not_verified_links_nobody(
    city: Town, anybody: Person, superuser: Superuser
) -> None:
    anna = await customer(city)
    await verify_email(superuser, anna)
    anybody.email, anybody.email_verified = anna.email, False

    assert error(await Browser(city).sign_in("github"), 403)["code"] == "NOT_LINKED"


async def test_whoever_is_erased_leaves_no_link_behind(
    city: Town, db: Database, google: Stranger, anybody: Person, superuser: Superuser
) -> None:
    anna = await linked(city)
    await Browser(city).leave_to_link("acme", token=anna.token)

    await db.run(lambda tx: forget_links(tx, user_id=UserId(UUID(anna.id))))

    left = await superuser.fetchval(
        "SELECT (SELECT count(*) FROM identity.outside_identities WHERE user_id = $1) "
        "+ (SELECT count(*) FROM identity.outside_flows WHERE link_user_id = $1)",
        anna.id,
    )
    assert left == 0
    assert error(await Browser(city).sign_in("google"), 403)["code"] == "NOT_LINKED"


async def test_the_portals_account_links_nothing(city: Town, anybody: Person) -> None:
    anna = await customer(city)
    portal = data(await city.login(email=anna.email, account_type="user_admin"))["token"]
    headers = {"Authorization": f"Bearer {portal}"}

    linking = await city.http.post("/api/v1/auth/oauth/google/link", headers=headers)
    unlinking = await city.http.delete("/api/v1/auth/links/google", headers=headers)

    assert error(linking, 403)["code"] == error(unlinking, 403)["code"] == "FORBIDDEN"
