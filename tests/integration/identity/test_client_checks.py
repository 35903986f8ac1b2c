"""The checks of clients and links find nothing after honest use, and what is done past Guilder."""

from __future__ import annotations

import asyncpg
import pytest

from guilder.identity.store.client_checks import CHECKS
from guilder.platform.checks import run_checks
from guilder.platform.db import Database
from tests.support.machines import make_client, signed_in
from tests.support.town import Town

Superuser = asyncpg.Connection

_TEN_MORE = """
    INSERT INTO identity.clients (id, owner_id, name, scopes, secret_digest, tokens_id, made_by)
    SELECT gen_random_uuid(), $1, 'more', '{wallets:read}', sha256(''), gen_random_uuid(), $1
    FROM generate_series(1, 10)
"""
_ERASE = """
    UPDATE identity.users SET status = 'erased', email_sealed = NULL, phone_sealed = NULL,
        full_name_sealed = NULL
    WHERE id = $1
"""
EDITS = {
    "identity.clients_have_no_power_over_people": (
        "UPDATE identity.clients SET scopes = scopes || ARRAY['roles:write'] WHERE owner_id = $1",
        "UPDATE identity.clients SET scopes = ARRAY['wallets:read'] WHERE owner_id = $1",
    ),
    "identity.clients_are_few": (
        _TEN_MORE,
        "DELETE FROM identity.clients WHERE owner_id = $1 AND name = 'more'",
    ),
    "identity.the_erased_have_no_way_in": (
        _ERASE,
        "DELETE FROM identity.clients WHERE owner_id = $1",
    ),
}


async def found(db: Database) -> set[str]:
    """The names of the checks that found something."""
    return {done.check.name for done in await run_checks(db, CHECKS) if done.findings}


def test_every_check_has_an_edit() -> None:
    assert set(EDITS) == {check.name for check in CHECKS}


@pytest.mark.parametrize("name", EDITS)
async def test_an_edit_is_found_and_honest_use_is_not(
    name: str, town: Town, db: Database, superuser: Superuser
) -> None:
    number = list(EDITS).index(name)
    user_id, token = await signed_in(town, f"Kiran{number}", f"+9198765030{number:02}")
    await make_client(town, token, "wallets:read")
    edit, mend = EDITS[name]

    before = await found(db)
    await superuser.execute(edit, user_id)
    after = await found(db)
    await superuser.execute(mend, user_id)

    assert (before, after) == (set(), {name})
    assert await found(db) == set()
