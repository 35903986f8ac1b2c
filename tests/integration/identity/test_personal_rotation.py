"""The keys of personal data change: interrupted, repeated, and while people register."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from itertools import count
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from guilder.identity.api.personal_data import Rotated
from guilder.identity.service.personal_rotation import AFTER_BATCH, RotatePersonalKeys
from guilder.identity.store.person_keys import EMAIL, PersonalKeys
from guilder.kernel.ids import UserId
from guilder.platform import failpoints
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys, key_id
from guilder.platform.failpoints import FailpointReached
from tests.integration.identity.test_personal_data import everything, from_before, store_of
from tests.support.town import Town, data, error

Superuser = asyncpg.Connection

NUMBERS = count(10_000)
PEOPLE = ("Asha", "Bela", "Chand", "Dev", "Ela")


@pytest.fixture
def rotation(db: Database, town: Town) -> RotatePersonalKeys:
    """Two users at once, so that a handful takes several steps."""
    return RotatePersonalKeys(db, keys=PersonalKeys(OuterKeys(town.keys.folder)), at_once=2)


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm("")


@pytest_asyncio.fixture
async def people(town: Town) -> dict[str, Any]:
    """Five people of this test alone, by name."""
    found = {}
    for name in PEOPLE:
        number = next(NUMBERS)
        answer = await town.register(f"{name}{number}", f"+9198750{number}")
        found[f"{name}{number}"] = data(answer, 201)
    return found


async def all_sign_in(town: Town, people: dict[str, Any]) -> None:
    for name, user in people.items():
        for named in ({"email": f"{name.lower()}@example.com"}, {"phone": user["phone"]}):
            answer = data(await town.login(**named))
            assert answer["user"]["id"] == user["id"]
            assert answer["user"]["full_name"] == f"{name} Rao"


async def stored_keys(superuser: Superuser) -> dict[UUID, tuple[UUID, UUID]]:
    """Each person's key, and the outer key that has wrapped it."""
    rows = await superuser.fetch("SELECT user_id, id, wrapped FROM identity.person_keys")
    return {row["user_id"]: (row["id"], key_id(row["wrapped"])) for row in rows}


async def index_keys(superuser: Superuser) -> set[UUID]:
    """The keys of all digests, which are those in use."""
    rows = await superuser.fetch("SELECT DISTINCT key_id FROM identity.contact_digests")
    used = await superuser.fetch("SELECT id FROM identity.index_keys")
    assert {row[0] for row in rows} == {row[0] for row in used}
    return {row[0] for row in rows}


async def test_the_outer_key_and_the_index_change_and_the_persons_keys_stay(
    people: dict[str, Any], rotation: RotatePersonalKeys, town: Town, superuser: Superuser
) -> None:
    before, index_before = await stored_keys(superuser), await index_keys(superuser)

    rotated = await rotation.rotate()

    after = await stored_keys(superuser)
    assert rotated == Rotated(
        sealed=0, reindexed=len(before), rewrapped=len(before), resealed=0, left=0
    )
    assert {user: key for user, (key, _) in after.items()} == {
        user: key for user, (key, _) in before.items()
    }
    outer = {wrapped_by for _, wrapped_by in after.values()}
    assert len(outer) == 1
    assert outer == await index_keys(superuser)
    assert index_before.isdisjoint(outer)
    await all_sign_in(town, people)


async def test_everybody_gets_a_new_key_when_it_is_asked_for(
    people: dict[str, Any], rotation: RotatePersonalKeys, town: Town, superuser: Superuser
) -> None:
    before = await stored_keys(superuser)

    rotated = await rotation.rotate(new_keys=True)

    after = await stored_keys(superuser)
    assert rotated.resealed == len(before)
    assert all(after[user][0] != key for user, (key, _) in before.items())
    await all_sign_in(town, people)


@pytest.mark.parametrize("new_keys", [False, True])
async def test_a_rotation_that_was_interrupted_anywhere_goes_on(
    new_keys: bool,
    people: dict[str, Any],
    rotation: RotatePersonalKeys,
    town: Town,
    superuser: Superuser,
) -> None:
    await from_before(town, superuser, name=f"Fay{new_keys}", phone=f"+91987654{new_keys:04d}")
    interrupted = 0
    while True:
        failpoints.arm(f"{AFTER_BATCH}=hit:{interrupted + 1}:raise")
        try:
            await rotation.rotate(new_keys=new_keys)
        except FailpointReached:
            interrupted += 1
            await all_sign_in(town, people)
        else:
            break

    assert interrupted > 5
    assert len({outer for _, outer in (await stored_keys(superuser)).values()}) == 1
    assert len(await index_keys(superuser)) == 1
    assert (
        await superuser.fetchval(
            "SELECT count(*) FROM identity.personal_rotations WHERE finished_at IS NULL"
        )
        == 0
    )
    data(await town.login(email=f"fay{new_keys}@example.com".lower()))


async def test_two_rotations_at_once_are_one_after_the_other(
    people: dict[str, Any], rotation: RotatePersonalKeys, town: Town, superuser: Superuser
) -> None:
    await asyncio.gather(rotation.rotate(), rotation.rotate(new_keys=True))

    assert len({outer for _, outer in (await stored_keys(superuser)).values()}) == 1
    assert len(await index_keys(superuser)) == 1
    await all_sign_in(town, people)


async def test_whoever_registers_meanwhile_is_found_afterwards_and_is_nobody_twice(
    people: dict[str, Any], rotation: RotatePersonalKeys, town: Town, superuser: Superuser
) -> None:
    name = next(iter(people))

    async def register() -> list[Any]:
        return [
            (
                await town.register(f"Gaur{n}", f"+9198760123{n:02}"),
                await town.register(name, "+919876012399"),
            )
            for n in range(12)
        ]

    (registered, _, _) = await asyncio.gather(
        register(), rotation.rotate(), rotation.rotate(new_keys=True)
    )
    again = [await town.register(f"Gaur{n}", f"+9198760124{n:02}") for n in range(12)]

    for n, (answer, taken) in enumerate(registered):
        user = data(answer, 201)
        assert error(taken, 409)["details"] == {"field": "email"}
        assert data(await town.login(email=f"gaur{n}@example.com"))["user"]["id"] == user["id"]
        assert error(again[n], 409)["details"] == {"field": "email"}


async def test_a_rotation_can_be_prepared_and_changes_nothing_yet(
    people: dict[str, Any], rotation: RotatePersonalKeys, town: Town, superuser: Superuser
) -> None:
    before = await stored_keys(superuser), await index_keys(superuser)

    prepared = await rotation.prepare()

    assert (await stored_keys(superuser), await index_keys(superuser)) == before
    assert (town.keys.folder / f"{prepared}.kek").exists()
    assert (town.keys.folder / f"contacts.{prepared}.key").exists()
    await all_sign_in(town, people)
    assert await rotation.prepare() == prepared
    await rotation.rotate()
    assert await index_keys(superuser) == {prepared}


async def test_whoever_was_in_clear_is_encrypted_and_still_themselves(
    rotation: RotatePersonalKeys, town: Town, superuser: Superuser
) -> None:
    for number in range(5):
        await from_before(town, superuser, name=f"Hema{number}", phone=f"+91987601250{number}")

    told: list[tuple[str, int]] = []
    rotated = await rotation.rotate(report=lambda step, users: told.append((step, users)))

    assert (rotated.sealed, rotated.left) == (5, 0)
    assert told[:3] == [("encrypted", 2), ("encrypted", 4), ("encrypted", 5)]
    assert "hema" not in (await everything(superuser)).lower()
    for number in range(5):
        data(await town.login(email=f"hema{number}@example.com"))
        data(await town.login(phone=f"+91987601250{number}"))
        assert error(await town.register(f"Hema{number}", "+919876012599"), 409)


async def test_who_was_registered_twice_during_the_roll_out_is_left_and_told_of(
    rotation: RotatePersonalKeys, town: Town, superuser: Superuser
) -> None:
    older = await from_before(town, superuser, name="Isha", phone="+919876012601")
    await superuser.execute(
        "UPDATE identity.users SET email = 'moved', email_key = 'moved' WHERE id = $1", older
    )
    data(await town.register("Isha", "+919876012602"), 201)
    await superuser.execute(
        "UPDATE identity.users SET email = $2, email_key = $2 WHERE id = $1",
        older,
        "isha@example.com",
    )

    rotated = await rotation.rotate()

    assert (rotated.sealed, rotated.left) == (0, 1)
    await superuser.execute(
        "UPDATE identity.users SET email = $2, email_key = $2 WHERE id = $1",
        older,
        "isha.older@example.com",
    )
    assert (await rotation.rotate()).left == 0


async def test_while_somebody_is_not_found_by_the_new_index_the_old_one_stays(
    rotation: RotatePersonalKeys, town: Town, superuser: Superuser, people: dict[str, Any]
) -> None:
    keys = PersonalKeys(OuterKeys(town.keys.folder))
    new = await rotation.prepare()
    (name, anna), (_, ben), *_ = people.items()
    taken = keys.digest(EMAIL, f"{name.lower()}@example.com", index_key=new)
    await superuser.execute(
        "INSERT INTO identity.contact_digests (kind, digest, key_id, user_id) "
        "VALUES ('email', $1, $2, $3)",
        taken,
        new,
        UUID(ben["id"]),
    )

    rotated = await rotation.rotate()

    assert (rotated.left, rotated.unfound) == (0, 1)
    used = await superuser.fetch("SELECT id FROM identity.index_keys")
    assert len(used) == 2
    await superuser.execute("DELETE FROM identity.contact_digests WHERE digest = $1", taken)
    await all_sign_in(town, {name: anna})
    assert (await rotation.rotate()).unfound == 0
    await all_sign_in(town, people)
    assert await index_keys(superuser) == {new}


async def test_the_worker_encrypts_everybody_an_hour_after_the_migration(
    rotation: RotatePersonalKeys, town: Town, superuser: Superuser
) -> None:
    user_id = await from_before(town, superuser, name="Jyoti", phone="+919876012701")
    in_clear = "SELECT email IS NOT NULL FROM identity.users WHERE id = $1"

    await superuser.execute("UPDATE identity.index_keys SET used_since = clock_timestamp()")
    await rotation.seal_those_before()
    assert await superuser.fetchval(in_clear, user_id)

    await superuser.execute(
        "UPDATE identity.index_keys SET used_since = clock_timestamp() - interval '61 minutes'"
    )
    await rotation.seal_those_before()
    assert not await superuser.fetchval(in_clear, user_id)
    data(await town.login(email="jyoti@example.com"))


async def test_a_name_that_changes_meanwhile_is_the_name_afterwards(
    people: dict[str, Any], rotation: RotatePersonalKeys, town: Town, db: Database
) -> None:
    users = store_of(town)

    async def rename(surname: str) -> None:
        for name, user in people.items():
            user_id = UserId(UUID(user["id"]))
            full_name = f"{name} {surname}"
            await db.run(partial(users.set_full_name, user_id=user_id, full_name=full_name))

    await asyncio.gather(rotation.rotate(new_keys=True), rename("Menon"))
    await asyncio.gather(rotation.rotate(new_keys=True), rename("Iyer"))

    for name, user in people.items():
        answer = data(await town.login(phone=user["phone"]))
        assert answer["user"]["full_name"] == f"{name} Iyer"
