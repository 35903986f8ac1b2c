"""Sign-in with a provider that plays Google, from the browser's first step to the session.

Whoever the provider names becomes a user here by a link alone, and nobody becomes somebody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import asyncpg
import msgspec
import pytest

from guilder.identity import module
from guilder.identity.service.outside_sign_in import forget_links
from guilder.kernel.ids import UserId
from guilder.platform.db import Database
from guilder.platform.egress import Egress, EgressRules, SystemResolver
from guilder.platform.envelopes import OuterKeys
from guilder.platform.keys import KeyFolder
from guilder.platform.outward import CallLimits
from tests.support.browser import Browser
from tests.support.enrolled import settled
from tests.support.stranger import CLIENT_ID, CLIENT_SECRET, Person, Stranger, a_stranger
from tests.support.town import ForgetfulDatabase, Town, data, error, founded
from tests.support.townhall import Townsman, customer, staff

Superuser = asyncpg.Connection
_SUBJECTS = count(1)


@pytest.fixture(scope="module")
async def google() -> AsyncIterator[Stranger]:
    async with a_stranger() as stranger:
        yield stranger


def parts_of(stranger: Stranger, folder: Path, **more: object) -> dict[str, object]:
    """What identity is built from so that it knows the stranger as Google, GitHub and itself."""
    entry = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "issuer": stranger.url}
    file = folder / "providers.json"
    file.write_bytes(msgspec.json.encode(dict.fromkeys(("google", "github", "acme"), entry)))
    egress = Egress(EgressRules(https_only=False, allow=["127.0.0.1:*"]), resolver=SystemResolver())
    limits = CallLimits(connect_s=10, total_s=20)
    return {"providers": module.build_providers(file, egress=egress, limits=limits), **more}


@pytest.fixture(scope="module")
async def city(
    db: Database, google: Stranger, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Town]:
    folder = tmp_path_factory.mktemp("outside")
    keys = KeyFolder(folder / "keys")
    keys.ensure()
    async with founded(db, keys, **parts_of(google, folder)) as town:
        yield town


@pytest.fixture
def anybody(google: Stranger) -> Person:
    """Somebody whom the provider knows and nobody else."""
    google.person = Person(str(1000 + next(_SUBJECTS)))
    google.answers.clear()
    google.spoil = lambda claims: claims
    google.sign = None
    google.document = {}
    return google.person


async def verify_email(superuser: Superuser, person: Townsman) -> None:
    await superuser.execute(
        "UPDATE identity.users SET email_verified_at = now() WHERE id = $1", person.id
    )


async def linked(city: Town, google: Stranger, *, provider: str = "google") -> Townsman:
    """A customer who has linked whoever the provider names just now."""
    anna = await customer(city)
    answer = await Browser(city).link(provider, token=anna.token)
    assert answer.status_code == 204, answer.text
    return anna


async def test_whoever_linked_a_provider_signs_in_with_it(
    city: Town, google: Stranger, anybody: Person
) -> None:
    anna = await linked(city, google)

    login = data(await Browser(city).sign_in("google"))

    assert login["user"]["id"] == anna.id
    assert login["refresh_token"]
    caller = await city.verifier.verify(login["token"])
    assert str(caller.user_id) == anna.id


async def test_the_session_says_how_it_was_opened(
    city: Town, google: Stranger, anybody: Person, superuser: Superuser
) -> None:
    await linked(city, google)

    login = data(await Browser(city).sign_in("google"))

    session_id = (await city.verifier.verify(login["token"])).session_id
    methods = await superuser.fetchval(
        "SELECT methods FROM identity.sessions WHERE id = $1", session_id
    )
    assert methods == ["fed"]


async def test_the_browser_leaves_with_a_challenge_and_keeps_a_cookie(city: Town) -> None:
    answer = await city.http.get("/api/v1/auth/oauth/google/start")

    query = parse_qs(urlsplit(answer.headers["location"]).query)
    assert answer.status_code == 302
    assert query["code_challenge_method"] == ["S256"]
    assert len(query["state"][0]) == len(query["nonce"][0]) == len(query["code_challenge"][0]) == 43
    assert query["redirect_uri"] == ["http://localhost:8000/api/v1/auth/oauth/google/callback"]
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"


async def test_behind_https_the_cookie_is_for_this_host_alone(
    db: Database, google: Stranger, tmp_path: Path, anybody: Person
) -> None:
    keys = KeyFolder(tmp_path / "keys")
    keys.ensure()
    parts = parts_of(google, tmp_path, base_url="https://bank.example")
    async with founded(db, keys, **parts) as town:
        answer = await town.http.get("/api/v1/auth/oauth/google/start")

    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-guilder_")
    assert "; Secure" in cookie
    assert "; Path=/;" in cookie


async def test_nothing_that_a_thief_of_the_database_could_use_is_stored(
    city: Town, google: Stranger, anybody: Person, superuser: Superuser
) -> None:
    browser = Browser(city)

    url = await browser.leave("google")

    query = parse_qs(urlsplit(url).query)
    rows = str(await superuser.fetch("SELECT f::text FROM identity.outside_flows f"))
    (secret,) = browser.cookies.values()
    assert not [text for text in (secret, query["state"][0], query["nonce"][0]) if text in rows]
    await linked(city, google)
    links = str(await superuser.fetch("SELECT i::text FROM identity.outside_identities i"))
    assert f",{anybody.subject}," not in links


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


async def test_a_callback_belongs_to_the_browser_that_left(
    city: Town, google: Stranger, anybody: Person
) -> None:
    anna = await linked(city, google)
    annas, thiefs = Browser(city), Browser(city)
    back = await annas.visit(await annas.leave("google"))
    await thiefs.leave("google")

    stolen = await thiefs.come_back(back)
    bare = await Browser(city).come_back(back)
    hers = await annas.come_back(back)

    assert error(stolen, 401)["code"] == error(bare, 401)["code"] == "UNAUTHORIZED"
    assert data(hers)["user"]["id"] == anna.id


async def test_somebody_elses_code_is_of_no_use_in_ones_own_sign_in(
    city: Town, google: Stranger, anybody: Person
) -> None:
    await linked(city, google)
    annas, thiefs = Browser(city), Browser(city)
    hers = await annas.visit(await annas.leave("google"))
    his = await thiefs.visit(await thiefs.leave("google"))
    code, own = (parse_qs(urlsplit(url).query)["code"][0] for url in (hers, his))

    answer = await thiefs.come_back(his.replace(own, code))

    assert error(answer, 401)["code"] == "UNAUTHORIZED"


async def test_a_callback_is_used_once_however_many_come_at_once(
    city: Town, google: Stranger, anybody: Person
) -> None:
    await linked(city, google)
    browser = Browser(city)
    back = await browser.visit(await browser.leave("google"))
    sent = dict(browser.cookies)

    answers = await asyncio.gather(*(Browser(city, dict(sent)).come_back(back) for _ in range(5)))

    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401, 401]
    assert error(await Browser(city, sent).come_back(back), 401)["code"] == "UNAUTHORIZED"


async def test_a_callback_that_comes_too_late_is_over(
    city: Town, anybody: Person, superuser: Superuser
) -> None:
    browser = Browser(city)
    back = await browser.visit(await browser.leave("google"))
    await superuser.execute("UPDATE identity.outside_flows SET expires_at = now()")

    assert error(await browser.come_back(back), 401)["code"] == "UNAUTHORIZED"


async def test_a_callback_of_another_provider_is_none(city: Town, anybody: Person) -> None:
    browser = Browser(city)
    back = await browser.visit(await browser.leave("google"))

    answer = await browser.come_back(back.replace("/google/", "/acme/"))

    assert error(answer, 401)["code"] == "UNAUTHORIZED"


@pytest.mark.parametrize("query", ["", "state=&code=x", "state=x&code=y", "code=y", "error=no"])
async def test_what_is_no_callback_is_refused(city: Town, query: str) -> None:
    answer = await city.http.get(f"/api/v1/auth/oauth/google/callback?{query}")

    assert error(answer, 401)["code"] == "UNAUTHORIZED"


async def test_a_person_who_says_no_is_not_signed_in(city: Town, anybody: Person) -> None:
    browser = Browser(city)
    state = parse_qs(urlsplit(await browser.leave("google")).query)["state"][0]

    answer = await browser.come_back(
        f"http://x/api/v1/auth/oauth/google/callback?error=access_denied&state={state}"
    )

    assert error(answer, 401)["code"] == "UNAUTHORIZED"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_unknown_provider_is_not_there(city: Town, method: str) -> None:
    anna = await customer(city)
    path = "start" if method == "GET" else "link"

    answer = await anna.ask(method, f"/auth/oauth/nobody/{path}")

    assert error(answer, 404)["code"] == "NOT_FOUND"


async def test_a_session_that_has_ended_links_nothing(city: Town, anybody: Person) -> None:
    anna = await customer(city)
    browser = Browser(city)
    back = await browser.visit(await browser.leave_to_link("google", token=anna.token))
    await anna.ask("POST", "/auth/logout")

    assert error(await browser.come_back(back), 401)["code"] == "UNAUTHORIZED"


async def test_an_old_session_has_to_prove_itself_before_it_links_or_unlinks(
    city: Town, google: Stranger, anybody: Person, superuser: Superuser
) -> None:
    anna = await linked(city, google)
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
    anna, ben = await linked(city, google), await customer(city, "Ben")

    answer = await Browser(city).link("google", token=ben.token)

    assert error(answer, 409)["code"] == "ALREADY_LINKED"
    assert data(await Browser(city).sign_in("google"))["user"]["id"] == anna.id


async def test_a_user_has_one_person_of_a_provider(
    city: Town, google: Stranger, anybody: Person
) -> None:
    anna = await linked(city, google)
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
    anna = await linked(city, google)

    first = await anna.ask("DELETE", "/auth/links/google")
    again = await anna.ask("DELETE", "/auth/links/google")

    assert first.status_code == 204
    assert error(again, 404)["code"] == "NOT_FOUND"
    assert error(await Browser(city).sign_in("google"), 403)["code"] == "NOT_LINKED"


async def test_a_frozen_user_is_not_signed_in(
    city: Town, google: Stranger, anybody: Person, superuser: Superuser
) -> None:
    anna = await linked(city, google)
    await superuser.execute("UPDATE identity.users SET status = 'frozen' WHERE id = $1", anna.id)

    assert error(await Browser(city).sign_in("google"), 403)["code"] == "USER_FROZEN"


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


async def test_a_lost_answer_to_a_commit_does_no_harm(
    forgetful: ForgetfulDatabase, google: Stranger, tmp_path: Path, anybody: Person
) -> None:
    keys = KeyFolder(tmp_path / "keys")
    keys.ensure()
    async with founded(forgetful, keys, **parts_of(google, tmp_path)) as town:
        anna = await linked(town, google)
        login = data(await Browser(town).sign_in("google"))
        unlinked = await anna.ask("DELETE", "/auth/links/google")

    assert login["user"]["id"] == anna.id
    assert unlinked.status_code == 204


async def test_sign_ins_that_nobody_came_back_from_are_forgotten(
    city: Town, db: Database, superuser: Superuser, tmp_path: Path
) -> None:
    await Browser(city).leave("google")
    await superuser.execute(
        "UPDATE identity.outside_flows SET expires_at = now() - interval '1 second'"
    )
    await Browser(city).leave("google")
    keys = KeyFolder(tmp_path / "keys")
    keys.ensure()
    jobs = module.build(db=db, keys=keys, contacts=OuterKeys(keys.folder)).jobs
    (clearing,) = [job for job in jobs if job.name == "identity.clear_outside_sign_ins"]

    await clearing.run()

    assert await superuser.fetchval("SELECT count(*) FROM identity.outside_flows") == 1


async def test_whoever_has_second_factors_is_asked_for_one(
    city: Town, anybody: Person, superuser: Superuser
) -> None:
    anna = await settled(city, superuser)
    await Browser(city).link("google", token=anna.token)
    await anna.enroll()

    asked = data(await Browser(city).sign_in("google"), 202)
    done = data(
        await city.post("/auth/mfa/verify", challenge=asked["challenge"], otp=await anna.code())
    )

    assert asked["mfa_required"] is True
    assert "token" not in asked
    assert done["user"]["id"] == str(anna.user_id)
    session_id = (await city.verifier.verify(done["token"])).session_id
    methods = await superuser.fetchval(
        "SELECT methods FROM identity.sessions WHERE id = $1", session_id
    )
    assert {"fed", "otp", "mfa"} <= set(methods)


async def test_whoever_is_erased_leaves_no_link_behind(
    city: Town, db: Database, google: Stranger, anybody: Person, superuser: Superuser
) -> None:
    anna = await linked(city, google)
    await Browser(city).leave_to_link("acme", token=anna.token)

    await db.run(lambda tx: forget_links(tx, user_id=UserId(UUID(anna.id))))

    left = await superuser.fetchval(
        "SELECT (SELECT count(*) FROM identity.outside_identities WHERE user_id = $1) "
        "+ (SELECT count(*) FROM identity.outside_flows WHERE link_user_id = $1)",
        anna.id,
    )
    assert left == 0
    assert error(await Browser(city).sign_in("google"), 403)["code"] == "NOT_LINKED"
