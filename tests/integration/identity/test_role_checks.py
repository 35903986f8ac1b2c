"""The checks of roles and freezes find nothing after honest use, and what is done past Guilder."""

from __future__ import annotations

import asyncpg
import pytest
import pytest_asyncio

from guilder.identity.store.role_checks import CHECKS
from guilder.platform.checks import run_checks
from guilder.platform.db import Database
from tests.support.town import Town, data
from tests.support.townhall import Townsman, colleague, customer, staff

Superuser = asyncpg.Connection

EDITS = {
    "identity.frozen_users_have_a_freeze": [
        "UPDATE identity.users SET status = 'pending' WHERE status = 'frozen'",
        "UPDATE identity.users SET status = 'frozen' WHERE status = 'pending'",
        "DELETE FROM identity.freezes",
    ],
    "identity.frozen_users_have_no_session": [
        "UPDATE identity.sessions SET ended_at = NULL, end_reason = NULL",
    ],
    "identity.accounts_have_their_role": [
        "DELETE FROM identity.role_assignments WHERE role = 'customer'",
        "DELETE FROM identity.role_assignments WHERE role = 'user_admin'",
        (
            "INSERT INTO identity.role_assignments (account_id, role) "
            "SELECT id, 'support' FROM identity.accounts WHERE type = 'user_admin'"
        ),
        (
            "INSERT INTO identity.role_assignments (account_id, role) "
            "SELECT id, 'customer' FROM identity.accounts WHERE type = 'staff'"
        ),
    ],
    "identity.somebody_administrates": [
        (
            "UPDATE identity.users SET status = 'frozen' WHERE id IN "
            "(SELECT account_id FROM identity.role_assignments WHERE role = 'admin')"
        ),
    ],
}


async def found(db: Database) -> set[str]:
    """The names of the checks that found something."""
    return {done.check.name for done in await run_checks(db, CHECKS) if done.findings}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def anna(town: Town, db: Database) -> Townsman:
    """A frozen customer in a town of customers and staff."""
    chief, anna, ben = (
        await staff(town, db, "admin"),
        await customer(town),
        await colleague(town, db, "Ben"),
    )
    reason = "It was agreed."
    for whom, act in ((anna, "freeze"), (ben, "freeze"), (ben, "unfreeze")):
        data(await chief.ask("POST", f"/admin/users/{whom.id}/{act}", reason=reason))
    path = f"/rbac/users/{ben.id}/roles"
    data(await chief.ask("PUT", path, roles=["support"], reason=reason))
    return anna


async def test_honest_use_is_found_to_be_right(db: Database, anna: Townsman) -> None:
    assert anna
    assert await found(db) == set()


def test_every_check_has_an_edit() -> None:
    assert set(EDITS) == {check.name for check in CHECKS}


@pytest.mark.parametrize(
    ("name", "edit"), [(name, edit) for name, edits in EDITS.items() for edit in edits]
)
async def test_an_edit_is_found(name: str, edit: str, anna: Townsman, superuser: Superuser) -> None:
    assert anna
    (check,) = [check for check in CHECKS if check.name == name]
    undone = superuser.transaction()
    await undone.start()
    try:
        await superuser.execute(edit)
        findings = await check.find(superuser)
    finally:
        await undone.rollback()

    assert findings
