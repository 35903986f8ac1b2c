"""Emails, phones and names on a real database: what a dump shows, what moves, whose they stay."""

from __future__ import annotations

from uuid import UUID, uuid4

import asyncpg
import pytest

from guilder.identity.store.person_keys import PersonalKeys
from guilder.identity.store.users import NewUser, UserStore
from guilder.kernel.ids import UserId
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys, Unreadable
from guilder.platform.identifiers import new_id
from tests.support.town import Town, data, error

Superuser = asyncpg.Connection

EVERY_TABLE = """
    SELECT format('SELECT t::text FROM %I.%I t', schemaname, tablename)
    FROM pg_tables WHERE schemaname IN ('identity', 'platform')
"""


async def everything(superuser: Superuser) -> str:
    """All rows of identity and of the outbox, as a dump would show them."""
    rows = [
        row[0]
        for query in await superuser.fetch(EVERY_TABLE)
        for row in await superuser.fetch(query[0])
    ]
    return "\n".join(rows)


def store_of(town: Town) -> UserStore:
    return UserStore(keys=PersonalKeys(OuterKeys(town.keys.folder)))


async def test_a_dump_shows_nobodys_email_phone_or_name(town: Town, superuser: Superuser) -> None:
    data(await town.register("Anasuya", "+919876501001", full_name="Anasuya Iyer"), 201)
    data(await town.login(email="anasuya@example.com"))

    dump = (await everything(superuser)).lower()

    for text in ("anasuya", "iyer", "9876501001"):
        assert text not in dump
        assert text.encode().hex() not in dump


async def test_everybody_has_a_key_of_their_own(town: Town, superuser: Superuser) -> None:
    first = data(await town.register("Bala", "+919876501002"), 201)
    second = data(await town.register("Bimal", "+919876501003"), 201)

    keys = await superuser.fetch(
        "SELECT id, wrapped FROM identity.person_keys WHERE user_id = ANY($1::uuid[])",
        [first["id"], second["id"]],
    )

    assert len({row["id"] for row in keys}) == len({row["wrapped"] for row in keys}) == 2


@pytest.mark.parametrize("column", ["email", "full_name"])
async def test_a_field_opens_for_nobody_else_and_as_no_other_field(
    column: str, town: Town, db: Database, superuser: Superuser
) -> None:
    name = f"Chitra{column[0]}"
    user = data(await town.register(name, f"+91987650110{len(column)}"), 201)
    other = {"email": "full_name", "full_name": "email"}[column]
    await superuser.execute(
        f"UPDATE identity.users SET {column}_sealed = {other}_sealed WHERE id = $1",
        UUID(user["id"]),
    )

    with pytest.raises(Unreadable):
        await db.run(lambda tx: store_of(town).account(tx, UserId(UUID(user["id"]))))


async def test_anothers_key_opens_nothing(town: Town, db: Database, superuser: Superuser) -> None:
    anna = data(await town.register("Deepa", "+919876501201"), 201)
    ben = data(await town.register("Dinesh", "+919876501202"), 201)
    await superuser.execute(
        "UPDATE identity.person_keys a SET wrapped = b.wrapped FROM identity.person_keys b "
        "WHERE a.user_id = $1 AND b.user_id = $2",
        UUID(anna["id"]),
        UUID(ben["id"]),
    )

    with pytest.raises(Unreadable):
        await db.run(lambda tx: store_of(town).account(tx, UserId(UUID(anna["id"]))))


async def test_signing_in_finds_email_and_phone_however_they_are_written(town: Town) -> None:
    user = data(await town.register("Esther", "+919876501301"), 201)

    for named in ({"email": "ESTHER@Example.com"}, {"phone": "098765 01301"}):
        assert data(await town.login(**named))["user"]["id"] == user["id"]


async def test_a_new_name_is_encrypted_as_well(
    town: Town, db: Database, superuser: Superuser
) -> None:
    user = data(await town.register("Farida", "+919876501401"), 201)
    user_id, users = UserId(UUID(user["id"])), store_of(town)

    await db.run(lambda tx: users.set_full_name(tx, user_id, "Farida Contractor"))

    account = await db.run(lambda tx: users.account(tx, user_id))
    assert account is not None
    assert account.full_name == "Farida Contractor"
    assert "contractor" not in (await everything(superuser)).lower()


async def test_an_index_key_that_is_in_use_and_missing_stops_registering_not_signing_in(
    town: Town, superuser: Superuser
) -> None:
    data(await town.register("Girish", "+919876501501"), 201)
    missing = uuid4()
    await superuser.execute("INSERT INTO identity.index_keys (id) VALUES ($1)", missing)
    try:
        assert error(await town.register("Gopal", "+919876501502"), 500)
        data(await town.login(email="girish@example.com"))
    finally:
        await superuser.execute("DELETE FROM identity.index_keys WHERE id = $1", missing)


async def test_who_registers_again_after_a_lost_answer_is_the_same(
    town: Town, db: Database
) -> None:
    users = store_of(town)
    user = NewUser(
        id=UserId(new_id()),
        email="hari@example.com",
        email_key="hari@example.com",
        phone="+919876501601",
        full_name="Hari Rao",
        password_hash="$argon2id$x",
    )

    first = await db.run(lambda tx: users.add_user(tx, user))
    again = await db.run(lambda tx: users.add_user(tx, user))

    assert (first.name, again.name) == ("NEW", "REPEATED")
    assert await db.run(
        lambda tx: users.who_has(tx, email_key="hari@example.com", phone="+919876501601")
    ) == {user.id: "email"}


async def test_the_application_destroys_no_trace_of_a_key_or_an_erasure(db: Database) -> None:
    may = await db.fetchrow(
        "SELECT has_table_privilege('identity.person_keys', 'DELETE, TRUNCATE') AS deletes, "
        "has_table_privilege('identity.erasures', 'DELETE, TRUNCATE') "
        "OR has_any_column_privilege('identity.erasures', 'UPDATE') AS rewrites, "
        "has_any_column_privilege('identity.contact_digests', 'UPDATE') "
        "OR has_any_column_privilege('identity.index_keys', 'UPDATE') AS reassigns, "
        "has_table_privilege('identity.legal_holds', 'DELETE, TRUNCATE') AS lifts"
    )

    assert may is not None
    assert not any(may.values())


class TestSomebodyFromBefore:
    """A user whose row is in clear, as the release before has written it."""

    async def test_signs_in_and_is_answered_as_ever(self, town: Town, superuser: Superuser) -> None:
        user_id = await from_before(town, superuser, name="Indira", phone="+919876501701")

        answer = data(await town.login(email="indira@example.com"))

        assert answer["user"]["id"] == str(user_id)
        assert answer["user"]["full_name"] == "Indira Rao"
        assert data(await town.login(phone="+919876501701"))["user"]["id"] == str(user_id)

    @pytest.mark.parametrize(
        ("name", "phone", "field"),
        [("Jaya", "+919876501899", "email"), ("Jana", "+919876501801", "phone")],
    )
    async def test_keeps_email_and_phone_against_whoever_comes(
        self, name: str, phone: str, field: str, town: Town, superuser: Superuser
    ) -> None:
        if not await superuser.fetchval(
            "SELECT count(*) FROM identity.users WHERE email = 'jaya@example.com'"
        ):
            await from_before(town, superuser, name="Jaya", phone="+919876501801")

        answer = await town.register(name, phone)

        assert error(answer, 409)["details"] == {"field": field}

    async def test_has_a_new_name_in_clear_until_all_is_encrypted(
        self, town: Town, db: Database, superuser: Superuser
    ) -> None:
        user_id = await from_before(town, superuser, name="Kavya", phone="+919876501901")

        await db.run(lambda tx: store_of(town).set_full_name(tx, user_id, "Kavya Menon"))

        assert data(await town.login(email="kavya@example.com"))["user"]["full_name"] == (
            "Kavya Menon"
        )


async def from_before(town: Town, superuser: Superuser, *, name: str, phone: str) -> UserId:
    """Somebody registered, and their row as if there had been no keys of persons yet."""
    user = data(await town.register(name, phone), 201)
    user_id = UUID(user["id"])
    async with superuser.transaction():
        await superuser.execute("DELETE FROM identity.contact_digests WHERE user_id = $1", user_id)
        await superuser.execute("SET LOCAL session_replication_role = replica")
        await superuser.execute("DELETE FROM identity.person_keys WHERE user_id = $1", user_id)
        await superuser.execute(
            "UPDATE identity.users SET email = $2, email_key = $2, phone = $3, full_name = $4, "
            "email_sealed = NULL, phone_sealed = NULL, full_name_sealed = NULL WHERE id = $1",
            user_id,
            f"{name.lower()}@example.com",
            phone,
            f"{name} Rao",
        )
    return UserId(user_id)
