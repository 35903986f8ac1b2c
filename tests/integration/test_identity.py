"""Identity over HTTP, on a real database: register, sign in, who am I, the public keys."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from guilder.identity import module
from guilder.identity.service.passwords import PasswordCost
from guilder.kernel.errors import Unauthenticated, ValidationFailed
from guilder.platform.access_tokens import AccessClaims, sign
from guilder.platform.auth import AUDIENCE, ISSUER, TokenVerifier
from guilder.platform.db import Database, Tx
from guilder.platform.http.asgi import HttpApp
from guilder.platform.http.dispatcher import Dispatcher
from guilder.platform.http.forwarded import TrustedProxies
from guilder.platform.http.metrics import RequestMetrics
from guilder.platform.identifiers import new_id
from guilder.platform.keys import KeyFolder
from guilder.platform.permissions import ROLES
from guilder.platform.remote_keys import RemoteKeys
from tests.support.database import OwnDatabase

CHEAP = PasswordCost(passes=1, memory_kib=64, lanes=1)
PASSWORD = "SecurePass123"
GOOD = {
    "email": "gita@example.com",
    "phone": "+919876500300",
    "full_name": "Gita Rao",
    "password": PASSWORD,
}

Superuser = asyncpg.Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    """Identity alone, served; and what verifies its tokens."""

    http: httpx2.AsyncClient
    keys: KeyFolder
    verifier: TokenVerifier

    async def post(self, path: str, **body: object) -> httpx2.Response:
        return await self.http.post(f"/api/v1{path}", json=body)

    async def register(self, name: str, phone: str, **changes: object) -> httpx2.Response:
        details = {"email": f"{name.lower()}@example.com", "full_name": f"{name} Rao"}
        return await self.post(
            "/auth/register", **{**details, "phone": phone, "password": PASSWORD, **changes}
        )

    async def login(self, **credentials: object) -> httpx2.Response:
        return await self.post("/auth/login", **{"password": PASSWORD, **credentials})

    async def me(self, token: str) -> httpx2.Response:
        return await self.http.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"})


class ForgetfulDatabase(Database):
    """Does everything twice, as when the link is cut after a commit and the answer is lost."""

    async def run(self, work: Callable[[Tx], Awaitable[Any]]) -> Any:
        await super().run(work)
        return await super().run(work)


@pytest_asyncio.fixture
async def forgetful(database: OwnDatabase) -> AsyncIterator[ForgetfulDatabase]:
    pool = await ForgetfulDatabase.connect(database.url())
    yield pool
    await pool.close()


@asynccontextmanager
async def founded(db: Database, keys: KeyFolder) -> AsyncIterator[Town]:
    identity = module.build(db=db, keys=keys, password_cost=CHEAP)
    verifier = TokenVerifier(keys)
    dispatcher = Dispatcher(
        {identity.name: identity.routes},
        verifier=verifier,
        metrics=RequestMetrics(CollectorRegistry()),
        service_names=identity.service_names,
    )
    app = HttpApp(dispatcher.respond, proxies=TrustedProxies())
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://guilder.test") as http:
        yield Town(http=http, keys=keys, verifier=verifier)
    for stop in identity.on_stop:
        await stop()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def town(db: Database, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    keys = KeyFolder(tmp_path_factory.mktemp("identity") / "keys")
    keys.ensure()
    async with founded(db, keys) as town:
        yield town


def data(answer: httpx2.Response, status: int = 200) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["success"] is True
    return body["data"]


def error(answer: httpx2.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["success"] is False
    return body["error"]


async def test_registering_answers_the_pending_user(town: Town) -> None:
    user = data(await town.register("Anna", "+919876500001"), 201)

    assert set(user) == {"id", "email", "phone", "full_name", "status", "created_at", "kyc"}
    assert UUID(user["id"]).version == 7
    assert (user["email"], user["phone"]) == ("anna@example.com", "+919876500001")
    assert (user["full_name"], user["status"]) == ("Anna Rao", "pending")
    assert user["kyc"] == {"status": "pending"}
    assert user["created_at"].endswith("Z")


async def test_registering_makes_the_paired_account_and_one_event(
    town: Town, superuser: Superuser
) -> None:
    user = data(await town.register("Asha", "+919876500002"), 201)

    accounts = await superuser.fetch(
        "SELECT id, type, array_agg(role) AS roles FROM identity.accounts "
        "JOIN identity.role_assignments ON account_id = id "
        "WHERE user_id = $1 GROUP BY id, type ORDER BY type",
        UUID(user["id"]),
    )
    events = await superuser.fetch(
        "SELECT type, data FROM platform.outbox WHERE key = $1", user["id"]
    )

    customer, user_admin = accounts
    assert (customer["type"], customer["roles"]) == ("customer", ["customer"])
    assert str(customer["id"]) == user["id"]
    assert (user_admin["type"], user_admin["roles"]) == ("user_admin", ["user_admin"])
    assert [event["type"] for event in events] == ["com.guilder.user.registered"]
    told = json.loads(events[0]["data"])
    assert set(told) == {"user_id", "user_admin_account_id", "registered_at"}
    assert told["user_admin_account_id"] == str(user_admin["id"])


async def test_password_is_stored_as_an_argon2id_hash_only(
    town: Town, superuser: Superuser
) -> None:
    data(await town.register("Arun", "+919876500003"), 201)

    row = await superuser.fetchval(
        "SELECT u::text FROM identity.users u WHERE email_key = 'arun@example.com'"
    )

    assert "$argon2id$v=19$" in row
    assert PASSWORD not in row


async def test_login_answers_a_token_that_names_the_user(town: Town) -> None:
    user = data(await town.register("Ben", "+919876500004"), 201)

    login = data(await town.login(email="BEN@Example.com"))

    assert login["token"] == login["access_token"]
    assert (login["token_type"], login["expires_in"]) == ("Bearer", 900)
    assert abs(login["expires_at"] - (time() + 900)) < 60
    assert {name: login["user"][name] for name in ("id", "email", "phone", "full_name")} == {
        name: user[name] for name in ("id", "email", "phone", "full_name")
    }
    assert (login["user"]["status"], login["user"]["roles"]) == ("pending", ["customer"])
    caller = await town.verifier.verify(login["token"])
    assert (str(caller.user_id), str(caller.customer_id)) == (user["id"], user["id"])
    assert caller.permissions == ROLES["customer"]


async def test_login_writes_a_session_and_an_event(town: Town, superuser: Superuser) -> None:
    user = data(await town.register("Bela", "+919876500005"), 201)

    login = data(await town.login(email="bela@example.com"))

    session_id = (await town.verifier.verify(login["token"])).session_id
    session = await superuser.fetchrow("SELECT * FROM identity.sessions WHERE id = $1", session_id)
    assert session is not None
    assert str(session["account_id"]) == user["id"]
    assert int(session["expires_at"].timestamp()) == login["expires_at"]
    types = await superuser.fetch(
        "SELECT type FROM platform.outbox WHERE key = $1 ORDER BY transaction, position", user["id"]
    )
    assert [row["type"] for row in types] == [
        "com.guilder.user.registered",
        "com.guilder.user.logged_in",
    ]


async def test_phone_signs_in_as_well_as_email(town: Town) -> None:
    user = data(await town.register("Bina", "+919876500006"), 201)

    login = data(await town.login(phone="98765 00006"))

    assert login["user"]["id"] == user["id"]


async def test_user_admin_signs_in_with_the_same_credentials(town: Town) -> None:
    user = data(await town.register("Bodhi", "+919876500007"), 201)

    login = data(await town.login(email="bodhi@example.com", account_type="user_admin"))

    assert login["user"]["id"] != user["id"]
    assert login["user"]["customer_id"] == user["id"]
    caller = await town.verifier.verify(login["token"])
    assert (caller.account_type, caller.permissions) == ("user_admin", frozenset())
    assert str(caller.customer_id) == user["id"]


async def test_wrong_credentials_are_answered_alike(town: Town) -> None:
    data(await town.register("Cara", "+919876500008"), 201)

    answers = [
        await town.login(email="cara@example.com", password="WrongPass123"),
        await town.login(email="nobody@example.com"),
        await town.login(email="no address at all"),
        await town.login(phone="+919876599999"),
        await town.login(phone="12"),
        await town.login(email="cara@example.com", account_type="staff"),
        await town.login(email="cara@example.com", password="x"),
    ]

    errors = [error(answer, 401) for answer in answers]
    assert len({(found["code"], found["message"]) for found in errors}) == 1
    assert errors[0]["code"] == "UNAUTHORIZED"
    assert not any("details" in found for found in errors)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"email": "ANNA.Twice@example.COM"}, "email"),
        ({"phone": "098765 00010"}, "phone"),
        ({"email": "anna.twice@example.com", "phone": "+919876500010"}, "email"),
    ],
)
async def test_email_and_phone_belong_to_one_user(
    changes: dict[str, str], field: str, town: Town
) -> None:
    await town.register("Anna.Twice", "+919876500010")

    answer = await town.post("/auth/register", **{**GOOD, **changes})

    found = error(answer, 409)
    assert found["code"] == "CONFLICT"
    assert found["details"] == {"field": field}
    assert field in found["message"]


async def test_one_of_twenty_concurrent_registrations_wins(
    town: Town, superuser: Superuser
) -> None:
    answers = await asyncio.gather(
        *(town.register("Esha", f"+9198765001{number:02}") for number in range(20))
    )

    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 19]
    users = await superuser.fetchval(
        "SELECT count(*) FROM identity.users WHERE email_key = 'esha@example.com'"
    )
    assert users == 1


async def test_one_of_twenty_concurrent_claims_to_a_phone_wins(town: Town) -> None:
    answers = await asyncio.gather(
        *(town.register(f"Farid{number}", "+919876500200") for number in range(20))
    )

    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 19]


BAD_VALUES: list[object] = [None, 7, 1.5, True, [], {}, "", "\0", "a\0b", "a\nb", "x" * 10_000]


@pytest.mark.parametrize("value", BAD_VALUES, ids=lambda value: repr(value)[:12])
@pytest.mark.parametrize("field", GOOD)
async def test_bad_value_is_refused_and_nothing_is_stored(
    field: str, value: object, town: Town, superuser: Superuser
) -> None:
    before = await superuser.fetchval("SELECT count(*) FROM identity.users")

    answer = await town.post("/auth/register", **{**GOOD, field: value})

    assert error(answer, 400)["code"] in {"VALIDATION_ERROR", "BAD_REQUEST"}
    assert await superuser.fetchval("SELECT count(*) FROM identity.users") == before


@pytest.mark.parametrize("field", ["role", "roles", "status", "account_type", "id", "kyc"])
async def test_nobody_chooses_what_only_guilder_decides(field: str, town: Town) -> None:
    answer = await town.post("/auth/register", **{**GOOD, field: "admin"})

    assert field in error(answer, 400)["details"]["fields"]


@pytest.mark.parametrize("field", GOOD)
async def test_every_field_is_required(field: str, town: Town) -> None:
    answer = await town.post("/auth/register", **{k: v for k, v in GOOD.items() if k != field})

    assert field in error(answer, 400)["details"]["fields"]


async def test_lone_surrogate_is_refused(town: Town) -> None:
    body = json.dumps({**GOOD, "full_name": "Gita\ud800"})

    answer = await town.http.post(
        "/api/v1/auth/register", content=body, headers={"Content-Type": "application/json"}
    )

    assert error(answer, 400)["code"] in {"VALIDATION_ERROR", "BAD_REQUEST"}


async def test_every_wrong_field_is_named_in_one_answer(town: Town) -> None:
    answer = await town.post(
        "/auth/register", email="gita", phone="1", full_name=" ", password="password1"
    )

    assert set(error(answer, 400)["details"]["fields"]) == set(GOOD)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": "anna@example.com"},
        {"password": PASSWORD},
        {"email": "anna@example.com", "phone": "+919876500001", "password": PASSWORD},
        {"email": "anna@example.com", "password": ""},
        {"email": "anna@example.com", "password": 12345678},
        {"email": "anna@example.com", "password": "x" * 10_000},
        {"email": "anna@example.com", "password": "a\u0085b"},
        {"email": "a\u0085b", "password": PASSWORD},
        {"email": "x" * 10_000, "password": PASSWORD},
        {"phone": "9" * 10_000, "password": PASSWORD},
        {"email": "anna@example.com", "password": PASSWORD, "account_type": "root"},
        {"email": "anna@example.com", "password": PASSWORD, "role": "admin"},
    ],
    ids=repr,
)
async def test_unreadable_login_is_a_clear_refusal(body: dict[str, object], town: Town) -> None:
    found = error(await town.post("/auth/login", **body), 400)

    assert found["code"] == "VALIDATION_ERROR"
    assert found["details"]["fields"]


async def test_me_answers_the_callers_own_account(town: Town) -> None:
    user = data(await town.register("Hari", "+919876500400"), 201)
    token = data(await town.login(email="hari@example.com"))["token"]

    me = data(await town.me(token))

    assert {name: me[name] for name in user} == user
    assert (me["roles"], me["account_type"]) == (["customer"], "customer")
    assert me["customer_id"] == user["id"]


async def test_me_of_a_user_admin_is_the_paired_account(town: Town) -> None:
    user = data(await town.register("Indu", "+919876500401"), 201)
    login = data(await town.login(email="indu@example.com", account_type="user_admin"))

    me = data(await town.me(login["token"]))

    assert (me["id"], me["customer_id"]) == (login["user"]["id"], user["id"])
    assert me["roles"] == ["user_admin"]


async def test_me_asks_for_a_token(town: Town) -> None:
    assert error(await town.me("nonsense"), 401)["code"] == "UNAUTHORIZED"
    assert error(await town.http.get("/api/v1/auth/me"), 401)["code"] == "UNAUTHORIZED"


async def test_token_of_an_account_that_is_not_there_is_refused(town: Town) -> None:
    now = int(time())
    claims = AccessClaims(
        iss=ISSUER,
        aud=AUDIENCE,
        sub=new_id(),
        jti=new_id(),
        iat=now,
        exp=now + 900,
        account_type="customer",
        roles=("customer",),
    )

    token = sign(claims, key=await town.keys.signing_key())

    assert error(await town.me(token), 401)["code"] == "UNAUTHORIZED"


async def test_other_process_verifies_tokens_by_the_published_keys(town: Town) -> None:
    data(await town.register("Jaya", "+919876500500"), 201)
    token = data(await town.login(email="jaya@example.com"))["token"]
    url = "http://guilder.test/.well-known/jwks.json"
    elsewhere = TokenVerifier(RemoteKeys(url, client=town.http))

    caller = await elsewhere.verify(token)

    assert caller.account_type == "customer"
    with pytest.raises(Unauthenticated):
        await elsewhere.verify(token[:-90] + token[-86:])


async def test_published_keys_are_public_and_may_be_cached(town: Town) -> None:
    answer = await town.http.get("/.well-known/jwks.json")

    (key,) = answer.json()["keys"]
    assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert key["kid"] == (await town.keys.signing_key()).kid
    assert answer.headers["cache-control"] == "public, max-age=60"
    assert answer.headers["content-type"] == "application/json"


async def test_tokens_of_a_rotated_key_still_verify(
    db: Database, tmp_path: Path, town: Town
) -> None:
    data(await town.register("Kiran", "+919876500600"), 201)
    token = data(await town.login(email="kiran@example.com"))["token"]

    added = town.keys.rotate()

    published = (await town.http.get("/.well-known/jwks.json")).json()["keys"]
    assert added.kid in {key["kid"] for key in published}
    assert await TokenVerifier(town.keys).verify(token)


async def test_admin_is_created_and_signs_in(db: Database, town: Town) -> None:
    staff = module.build_staff(db=db)
    assert not await staff.is_registered("lena@guilder.test")

    appointed = await staff.appoint(
        email="lena@guilder.test", role="admin", full_name="Lena Berg", password="NewSecurePass456"
    )

    assert appointed.created
    assert await staff.is_registered("LENA@guilder.test")
    login = data(await town.login(email="lena@guilder.test", password="NewSecurePass456"))
    assert (login["user"]["roles"], login["user"]["account_type"]) == (["admin"], "staff")
    assert login["user"]["customer_id"] is None
    assert (await town.verifier.verify(login["token"])).may("ledger:write")


async def test_customer_is_promoted_and_keeps_the_password(db: Database, town: Town) -> None:
    user = data(await town.register("Mira", "+919876500700"), 201)
    staff = module.build_staff(db=db)

    first = await staff.appoint(email="Mira@example.com", role="admin", password="Another-Pass-1")
    again = await staff.appoint(email="mira@example.com", role="admin")

    assert (first.created, again.created, str(first.user_id)) == (False, False, user["id"])
    login = data(await town.login(email="mira@example.com"))
    assert login["user"]["roles"] == ["admin", "customer"]
    admin = data(await town.login(email="mira@example.com", account_type="user_admin"))
    assert admin["user"]["roles"] == ["user_admin"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"password": "password1"}, "password"),
        ({"password": None}, "password"),
        ({"full_name": None}, "full_name"),
        ({"email": "nils"}, "email"),
        ({"role": "customer"}, "role"),
        ({"role": "emperor"}, "role"),
    ],
)
async def test_weak_or_unknown_appointment_is_refused(
    changes: dict[str, Any], field: str, db: Database
) -> None:
    good = {
        "email": "nils@guilder.test",
        "role": "admin",
        "full_name": "Nils Berg",
        "password": PASSWORD,
    }

    with pytest.raises(ValidationFailed) as refused:
        await module.build_staff(db=db).appoint(**{**good, **changes})

    assert set(refused.value.details["fields"]) == {field}  # type: ignore[call-overload] # a dict


async def test_application_changes_and_deletes_no_user(db: Database) -> None:
    tables = ["users", "accounts", "role_assignments", "sessions"]

    may = await db.fetch(
        "SELECT has_table_privilege('identity.' || t, 'INSERT') AS add, "
        "has_table_privilege('identity.' || t, 'UPDATE, DELETE, TRUNCATE') AS change "
        "FROM unnest($1::text[]) AS t",
        tables,
    )

    assert [(row["add"], row["change"]) for row in may] == [(True, False)] * len(tables)


async def test_lost_answer_to_a_commit_doubles_nothing(
    forgetful: ForgetfulDatabase, superuser: Superuser, town: Town
) -> None:
    async with founded(forgetful, town.keys) as shaky:
        user = data(await shaky.register("Omar", "+919876500800"), 201)
        data(await shaky.login(email="omar@example.com"))
    staff = module.build_staff(db=forgetful)
    await staff.appoint(email="omar@example.com", role="support")
    created = await staff.appoint(
        email="petra@guilder.test", role="support", full_name="Petra Berg", password=PASSWORD
    )

    rows = await superuser.fetch(
        "SELECT key, type FROM platform.outbox WHERE key = ANY($1::text[]) ORDER BY key, type",
        [user["id"], str(created.user_id)],
    )
    assert created.created
    assert [(row["key"], row["type"].removeprefix("com.guilder.user.")) for row in rows] == [
        (user["id"], "logged_in"),
        (user["id"], "registered"),
        (user["id"], "role_assigned"),
        (str(created.user_id), "role_assigned"),
    ]
