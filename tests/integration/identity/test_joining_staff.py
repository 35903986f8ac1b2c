"""Who may be given power over others: nobody whose email may be somebody else's."""

from __future__ import annotations

from typing import Any

from guilder.platform.db import Database
from tests.support.town import Town, data, error
from tests.support.townhall import Townsman, colleague, customer, proved, staff

REASON = "The board decided so."


async def appoint(by: Townsman, whom: str, *roles: str) -> Any:
    return await by.ask("PUT", f"/rbac/users/{whom}/roles", roles=list(roles), reason=REASON)


async def test_nobody_joins_staff_by_having_registered_with_a_colleagues_email_first(
    town: Town, db: Database
) -> None:
    chief, squatter = await staff(town, db, "admin"), await customer(town, "Mallory")
    shown = data(
        await chief.ask(
            "GET", "/admin/users/search", params={"email": squatter.email, "reason": REASON}
        )
    )
    path = f"/admin/users/{squatter.id}/role"

    for refused in (
        await appoint(chief, squatter.id, "admin"),
        await chief.ask("PATCH", path, role="support", reason=REASON),
    ):
        assert "not proved" in error(refused, 409)["message"]
    after = await squatter.ask("GET", "/rbac/roles")
    await proved(squatter.id, db=db)
    data(await appoint(chief, squatter.id, "support"))

    assert [one["email_verified"] for one in shown] == [False]
    assert after.status_code == 403


async def test_a_frozen_user_joins_no_staff(town: Town, db: Database) -> None:
    chief, anna = await staff(town, db, "admin"), await colleague(town, db)
    data(await chief.ask("POST", f"/admin/users/{anna.id}/freeze", reason=REASON))

    refused = error(await appoint(chief, anna.id, "support"), 409)

    assert "frozen" in refused["message"]


async def test_a_role_without_power_over_others_is_anybodys(town: Town, db: Database) -> None:
    chief, anna = await staff(town, db, "admin"), await customer(town)
    role = {"name": "early_bird", "permissions": ["wallets:read"]}
    data(await chief.ask("POST", "/rbac/roles", **role), 201)

    given = data(await appoint(chief, anna.id, "early_bird"))

    assert given["roles"] == ["customer", "early_bird"]
