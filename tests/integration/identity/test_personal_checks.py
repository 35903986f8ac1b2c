"""The checks of personal data find nothing after honest use, and whatever is done past Guilder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from guilder.identity.service.personal_rotation import RotatePersonalKeys
from guilder.identity.store.person_keys import PersonalKeys
from guilder.identity.store.personal_checks import CHECKS
from guilder.platform.checks import run_checks
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys
from guilder.platform.keys import KeyFolder
from tests.integration.identity.test_erasure import terms
from tests.integration.identity.test_personal_data import from_before
from tests.support.bank import opened
from tests.support.town import data, founded
from tests.support.townhall import customer, staff

Superuser = asyncpg.Connection

KEYS = "keys of people"
FOUND = "people found"
GONE = "erased people"
# Each says which of the two people it is about: $1 is somebody there, or somebody erased.
EDITS = {
    "DELETE FROM identity.person_keys WHERE user_id = $1": (KEYS, "there"),
    "UPDATE identity.person_keys SET wrapped = NULL, destroyed_at = clock_timestamp() "
    "WHERE user_id = $1": (KEYS, "there"),
    "UPDATE identity.person_keys SET id = gen_random_uuid() WHERE user_id = $1": (KEYS, "there"),
    "DELETE FROM identity.contact_digests WHERE user_id = $1 AND kind = 'email'": (FOUND, "there"),
    "DELETE FROM identity.contact_digests WHERE user_id = $1 AND kind = 'phone'": (FOUND, "there"),
    "UPDATE identity.contact_digests SET key_id = gen_random_uuid() WHERE user_id = $1": (
        FOUND,
        "there",
    ),
    "INSERT INTO identity.erasures (user_id, reason) VALUES ($1, 'made up')": (GONE, "there"),
    "DELETE FROM identity.erasures WHERE user_id = $1": (GONE, "erased"),
    "DELETE FROM identity.person_keys WHERE user_id = $1 AND true": (GONE, "erased"),
    "UPDATE identity.person_keys SET wrapped = 'x', destroyed_at = NULL WHERE user_id = $1": (
        GONE,
        "erased",
    ),
    "INSERT INTO identity.contact_digests (kind, digest, key_id, user_id) "
    "VALUES ('email', sha256('x'), gen_random_uuid(), $1)": (GONE, "erased"),
}


async def found(db: Database) -> set[str]:
    """The names of the checks that found something."""
    return {done.check.name for done in await run_checks(db, CHECKS) if done.findings}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def people(
    db: Database, superuser: Superuser, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, UUID]]:
    """Somebody there, with others in clear and without a phone; and somebody erased."""
    keys = KeyFolder(tmp_path_factory.mktemp("identity") / "keys")
    keys.ensure()
    async with (
        opened(db) as bank,
        founded(db, keys, erasing=terms(bank, keys)) as town,
    ):
        officer = await staff(town, db, "compliance")
        anna, ben = await customer(town, "Anna"), await customer(town, "Ben")
        await from_before(town, superuser, name="Old", phone="+919876555001")
        data(await officer.ask("DELETE", f"/admin/users/{ben.id}", reason="By letter"))
        rotation = RotatePersonalKeys(db, keys=PersonalKeys(OuterKeys(keys.folder)))
        await rotation.rotate(new_keys=True)
        await from_before(town, superuser, name="Older", phone="+919876555002")
        yield {"there": UUID(anna.id), "erased": UUID(ben.id)}


async def test_honest_use_is_found_to_be_right(db: Database, people: dict[str, UUID]) -> None:
    assert people
    assert await found(db) == set()


def test_every_check_has_an_edit() -> None:
    assert {check for check, _ in EDITS.values()} == {check.name for check in CHECKS}


@pytest.mark.parametrize("edit", EDITS)
async def test_an_edit_is_found(
    edit: str, db: Database, people: dict[str, UUID], superuser: Superuser
) -> None:
    check, whose = EDITS[edit]
    tables = ("person_keys", "contact_digests", "erasures")
    await superuser.execute("SET session_replication_role = replica")
    try:
        for table in tables:
            await superuser.execute(
                f"CREATE TEMPORARY TABLE kept_{table} AS SELECT * FROM identity.{table}"
            )
        await superuser.execute(edit, people[whose])

        assert check in await found(db)
    finally:
        for table in tables:
            await superuser.execute(
                f"DELETE FROM identity.{table}; "
                f"INSERT INTO identity.{table} SELECT * FROM kept_{table}; "
                f"DROP TABLE kept_{table}"
            )
        await superuser.execute("SET session_replication_role = origin")
    assert await found(db) == set()
