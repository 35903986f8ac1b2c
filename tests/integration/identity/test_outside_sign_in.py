"""Sign-in with a provider that plays Google, from the browser's first step to the session.

A sign-in belongs to its browser, is used once, and is over soon.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from guilder.identity import module
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys
from guilder.platform.keys import KeyFolder
from tests.support.browser import Browser, linked, providers
from tests.support.enrolled import settled
from tests.support.stranger import Person, Stranger
from tests.support.town import ForgetfulDatabase, Town, data, error, founded
from tests.support.townhall import customer

Superuser = asyncpg.Connection


async def test_whoever_linked_a_provider_signs_in_with_it(
    city: Town, google: Stranger, anybody: Person
) -> None:
    anna = await linked(city)

    login = data(await Browser(city).sign_in("google"))

    assert login["user"]["id"] == anna.id
    assert login["refresh_token"]
    caller = await city.verifier.verify(login["token"])
    assert str(caller.user_id) == anna.id


async def test_the_session_says_how_it_was_opened(
    city: Town, google: Stranger, anybody: Person, superuser: Superuser
) -> None:
    await linked(city)

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
    parts = {"base_url": "https://bank.example", "providers": providers(google, tmp_path)}
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
    await linked(city)
    links = str(await superuser.fetch("SELECT i::text FROM identity.outside_identities i"))
    assert f",{anybody.subject}," not in links


async def test_a_callback_belongs_to_the_browser_that_left(
    city: Town, google: Stranger, anybody: Person
) -> None:
    anna = await linked(city)
    annas, thiefs = Browser(city), Browser(city)
    back = await annas.visit(await annas.leave("google"))
    await thiefs.leave("google")

    stolen = await thiefs.come_back(back)
    bare = await Browser(city).come_back(back)
    hers = await annas.come_back(back)

    assert error(stolen, 401)["code"] == error(bare, 401)["code"] == "UNAUTHORIZED"
    assert data(hers)["user"]["id"] == anna.id


async def test_what_else_a_browser_keeps_is_not_looked_into(
    city: Town, google: Stranger, anybody: Person
) -> None:
    """However odd it is: quotes that do not end took a parser seconds, and what follows them."""
    anna = await linked(city)
    browser = Browser(city)
    back = await browser.visit(await browser.leave("google"))
    browser.cookies = {"odd": '"' + "\\" * 1_000, "__proto__": "a, b", **browser.cookies}

    answer = await browser.come_back(back)

    assert data(answer)["user"]["id"] == anna.id


async def test_somebody_elses_code_is_of_no_use_in_ones_own_sign_in(
    city: Town, google: Stranger, anybody: Person
) -> None:
    await linked(city)
    annas, thiefs = Browser(city), Browser(city)
    hers = await annas.visit(await annas.leave("google"))
    his = await thiefs.visit(await thiefs.leave("google"))
    code, own = (parse_qs(urlsplit(url).query)["code"][0] for url in (hers, his))

    answer = await thiefs.come_back(his.replace(own, code))

    assert error(answer, 401)["code"] == "UNAUTHORIZED"


async def test_a_callback_is_used_once_however_many_come_at_once(
    city: Town, google: Stranger, anybody: Person
) -> None:
    await linked(city)
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
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_unknown_provider_is_not_there(city: Town, method: str) -> None:
    anna = await customer(city)
    path = "start" if method == "GET" else "link"

    answer = await anna.ask(method, f"/auth/oauth/nobody/{path}")

    assert error(answer, 404)["code"] == "NOT_FOUND"


async def test_a_frozen_user_is_not_signed_in(
    city: Town, google: Stranger, anybody: Person, superuser: Superuser
) -> None:
    anna = await linked(city)
    await superuser.execute("UPDATE identity.users SET status = 'frozen' WHERE id = $1", anna.id)

    assert error(await Browser(city).sign_in("google"), 403)["code"] == "USER_FROZEN"


async def test_a_lost_answer_to_a_commit_does_no_harm(
    forgetful: ForgetfulDatabase, google: Stranger, tmp_path: Path, anybody: Person
) -> None:
    keys = KeyFolder(tmp_path / "keys")
    keys.ensure()
    async with founded(forgetful, keys, providers=providers(google, tmp_path)) as town:
        anna = await linked(town)
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
