"""Being forgotten: compliance erases a customer, and word of it reaches everybody who knew them."""

from __future__ import annotations

from guilder.platform.db import Database
from guilder.platform.identifiers import new_id
from tests.journeys.conftest import Guilder, NewCustomer
from tests.support.customer import PASSWORD, Customer, data, error
from tests.support.guilder import environment, guilder
from tests.support.waiting import until

BECAUSE = {"reason": "Asked for it by letter."}


def administrator(house: Guilder) -> dict[str, str]:
    """The headers of somebody who may erase people, whom the first call appoints."""
    credentials = {"email": "ada@guilder.example", "password": PASSWORD}
    answer = house.http.post("/api/v1/auth/login", json=credentials)
    if answer.status_code == 401:
        create = ("admin", "create", "--email", credentials["email"], "--name", "Ada Berg")
        env = environment(house.folder, ADMIN_PASSWORD=PASSWORD)
        done = guilder(*create, env=env, folder=house.folder)
        assert done.returncode == 0, done.stderr
        answer = house.http.post("/api/v1/auth/login", json=credentials)
    return {"Authorization": f"Bearer {data(answer)['token']}"}


async def test_a_customer_is_forgotten_by_everybody_who_knew_them(
    house: Guilder, customer: NewCustomer
) -> None:
    nina, ada = customer("Nina"), administrator(house)
    db = await Database.connect(house.superuser_url(), max_connections=2)
    try:
        await until(
            lambda: knows(db, nina, contact=True, key=True, wallets="active"),
            "everybody knows Nina",
        )
        tried = wrong_password(house, nina)
        await until(lambda: holds(states(house, ada, tried) == ["readable"]), "it is on record")

        erased = house.http.request(
            "DELETE", f"/api/v1/admin/users/{nina.id}", json=BECAUSE, headers=ada
        )

        assert data(erased)["status"] == "erased"
        assert error(nina.get("/auth/me"), 401)
        await until(
            lambda: knows(db, nina, contact=False, key=False, wallets="closed"), "nobody knows Nina"
        )
        assert await everything(db, nina) == []
        assert states(house, ada, tried) == ["erased"]
    finally:
        await db.close()


async def test_who_has_paid_is_kept_for_as_long_as_the_law_wants(
    house: Guilder, customer: NewCustomer
) -> None:
    anna, ada = customer("Anna"), administrator(house)
    wallet = anna.open_wallet(funds="10.00")

    def erase() -> str:
        path = f"/api/v1/admin/users/{anna.id}"
        answer = house.http.request("DELETE", path, json=BECAUSE, headers=ada)
        return str(error(answer, 409)["code"])

    rich = erase()
    data(anna.withdraw(wallet, "10.00"), 201)
    poor = erase()

    assert (rich, poor) == ("MONEY_REMAINS", "RETAINED_BY_LAW")
    assert anna.balance(wallet) == "0.00"


def wrong_password(house: Guilder, person: Customer) -> str:
    """Somebody tries their email; the id of the request."""
    request_id = f"journey-{new_id()}"
    house.http.post(
        "/api/v1/auth/login",
        headers={"X-Request-ID": request_id},
        json={"email": person.email, "password": "not her password"},
    )
    return request_id


def states(house: Guilder, ada: dict[str, str], request_id: str) -> list[str]:
    """Whether what audit keeps of a request about people can be read."""
    answer = house.http.get("/api/v1/audit", params={"request_id": request_id}, headers=ada)
    return [record["personal_state"] for record in data(answer)]


async def holds(condition: bool) -> bool:
    return condition


async def knows(db: Database, person: Customer, *, contact: bool, key: bool, wallets: str) -> bool:
    """Whether notifications have a contact, audit a key, and all wallets this status."""
    row = await db.fetchrow(
        """
        SELECT COALESCE((SELECT sealed <> '' FROM notifications.contacts WHERE user_id = $1), false)
                AS contact,
            COALESCE((SELECT wrapped IS NOT NULL FROM audit.data_keys WHERE person_id = $1), false)
                AS key,
            (SELECT array_agg(DISTINCT status) FROM wallets.wallets WHERE owner_id = $1) AS wallets
        """,
        person.id,
    )
    assert row is not None
    return tuple(row) == (contact, key, [wallets])


async def everything(db: Database, person: Customer) -> list[str]:
    """Where in the whole database a person is named in clear."""
    tables = await db.fetch(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
        "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    )
    query = (
        "SELECT EXISTS (SELECT FROM {} t "
        "WHERE t::text ILIKE '%' || $1 || '%' OR t::text LIKE '%' || $2 || '%')"
    )
    return [
        table[0]
        for table in tables
        if await db.fetchval(query.format(table[0]), person.email, person.phone)
    ]
