"""Roles over HTTP: who may give what to whom, and that it acts on the next request."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from guilder.platform.db import Database
from guilder.platform.identifiers import new_id
from guilder.platform.permissions import PERMISSIONS, ROLES
from tests.support.town import ForgetfulDatabase, Town, data, error, founded
from tests.support.townhall import Townsman, colleague, customer, staff

Superuser = asyncpg.Connection
REASON = "The board decided so."


async def appoint(by: Townsman, whom: str, *roles: str) -> Any:
    return await by.ask("PUT", f"/rbac/users/{whom}/roles", roles=list(roles), reason=REASON)


async def dismiss(by: Townsman, whom: str, role: str | None = None) -> Any:
    query = {"reason": REASON} | ({} if role is None else {"role": role})
    return await by.ask("DELETE", f"/rbac/users/{whom}/roles", params=query)


async def define(by: Townsman, name: str, *permissions: str, **more: str) -> Any:
    return await by.ask("POST", "/rbac/roles", name=name, permissions=list(permissions), **more)


async def events(superuser: Superuser, type_: str, key: str) -> list[Any]:
    rows = await superuser.fetch(
        "SELECT actor_id::text AS actor, data::text AS data FROM platform.outbox "
        "WHERE type = $1 AND key = $2 ORDER BY transaction, position",
        f"com.guilder.{type_}",
        key,
    )
    return [dict(row) for row in rows]


async def test_an_appointment_acts_on_the_next_request_of_a_token_that_is_out(
    town: Town, db: Database
) -> None:
    chief, anna = await staff(town, db, "admin"), await colleague(town, db)
    before = await anna.ask("GET", "/rbac/roles")

    given = data(await appoint(chief, anna.id, "support"))
    during = await anna.ask("GET", "/rbac/roles")
    taken = data(await dismiss(chief, anna.id, "support"))
    after = await anna.ask("GET", "/rbac/roles")

    assert [before.status_code, during.status_code, after.status_code] == [403, 200, 403]
    assert given["roles"] == ["customer", "support"]
    assert set(given["permissions"]) == ROLES["customer"] | ROLES["support"]
    assert taken["roles"] == ["customer"]


async def test_an_appointment_is_told_with_who_why_and_what_was_before(
    town: Town, db: Database, superuser: Superuser
) -> None:
    chief, anna = await staff(town, db, "admin"), await colleague(town, db)

    for _ in range(2):
        data(await appoint(chief, anna.id, "compliance", "support"))

    (told,) = await events(superuser, "user.roles_changed", anna.id)
    assert told["actor"] == chief.id
    for part in (chief.id, REASON, '"roles": ["customer"]', '"compliance"'):
        assert part in told["data"]


async def test_every_role_is_listed_with_what_it_grants(town: Town, db: Database) -> None:
    chief = await staff(town, db, "admin")
    data(await define(chief, "greeter", "users:read", description="Says hello."), 201)

    listed = {role["name"]: role for role in data(await chief.ask("GET", "/rbac/roles"))}

    assert listed.keys() >= ROLES.keys()
    assert all(set(listed[name]["permissions"]) >= granted for name, granted in ROLES.items())
    assert listed["greeter"] == {
        "name": "greeter",
        "description": "Says hello.",
        "permissions": ["users:read"],
        "comes_with_guilder": False,
    }


async def test_a_role_of_the_installation_grants_what_it_says_until_it_says_otherwise(
    town: Town, db: Database
) -> None:
    chief, anna = await staff(town, db, "admin"), await colleague(town, db)
    data(await define(chief, "teller", "users:read"), 201)
    data(await appoint(chief, anna.id, "teller"))
    first = await anna.may("users:read"), await anna.may("ledger:read")

    data(await chief.ask("PUT", "/rbac/roles/teller", permissions=["ledger:read"]))
    then = await anna.may("users:read"), await anna.may("ledger:read")

    assert (first, then) == ((True, False), (False, True))


async def test_a_role_is_removed_once_nobody_has_it(
    town: Town, db: Database, superuser: Superuser
) -> None:
    chief, anna = await staff(town, db, "admin"), await colleague(town, db)
    data(await define(chief, "usher", "users:read"), 201)
    data(await appoint(chief, anna.id, "usher"))

    held = await chief.ask("DELETE", "/rbac/roles/usher")
    data(await dismiss(chief, anna.id))
    free = await chief.ask("DELETE", "/rbac/roles/usher")
    again = await chief.ask("DELETE", "/rbac/roles/usher")

    assert error(held, 409)["code"] == "CONFLICT"
    assert free.status_code == 204
    assert error(again, 404)["code"] == "NOT_FOUND"
    assert len(await events(superuser, "role.removed", "usher")) == 1


async def test_a_permission_of_the_installation_is_granted_and_asked_for(
    town: Town, db: Database
) -> None:
    chief, anna = await staff(town, db, "admin"), await colleague(town, db)
    meaning = "Read the monthly reports."
    made = data(
        await chief.ask("POST", "/rbac/permissions", name="reports:read", meaning=meaning), 201
    )
    data(await define(chief, "analyst", "reports:read"), 201)
    data(await appoint(chief, anna.id, "analyst"))

    by_herself = data(await anna.ask("GET", "/rbac/check", params={"permission": "reports:read"}))
    listed = {one["name"]: one for one in data(await chief.ask("GET", "/rbac/permissions"))}

    assert by_herself == {"user_id": anna.id, "permission": "reports:read", "allowed": True}
    assert listed["reports:read"] == made
    assert listed.keys() >= PERMISSIONS.keys()
    assert await chief.may("reports:read")


async def test_staff_ask_for_others_and_customers_for_themselves_only(
    town: Town, db: Database
) -> None:
    helper, anna, ben = (
        await staff(town, db, "support"),
        await customer(town),
        await customer(town, "Ben"),
    )
    query = {"permission": "payments:write", "user_id": anna.id}

    assert data(await helper.ask("GET", "/rbac/check", params=query))["allowed"] is True
    assert data(await anna.ask("GET", "/rbac/check", params=query))["allowed"] is True
    assert error(await ben.ask("GET", "/rbac/check", params=query), 403)["code"] == "FORBIDDEN"
    nobody = query | {"user_id": str(new_id())}
    assert error(await helper.ask("GET", "/rbac/check", params=nobody), 404)["code"] == "NOT_FOUND"


async def test_own_roles_are_seen_and_those_of_others_look_like_nobodys(town: Town) -> None:
    anna, ben = await customer(town), await customer(town, "Ben")

    own = data(await anna.ask("GET", f"/rbac/users/{anna.id}/roles"))
    others = error(await ben.ask("GET", f"/rbac/users/{anna.id}/roles"), 404)
    nobodys = error(await ben.ask("GET", f"/rbac/users/{new_id()}/roles"), 404)

    assert own["roles"] == ["customer"]
    assert (others["code"], others["message"]) == (nobodys["code"], nobodys["message"])


@pytest.mark.parametrize(
    ("name", "permissions", "field"),
    [
        ("Teller", ["users:read"], "name"),
        ("t", ["users:read"], "name"),
        ("admin'--", ["users:read"], "name"),
        ("\uff41dmin", ["users:read"], "name"),
        ("cashier", ["users:fly"], "permissions"),
    ],
)
async def test_a_role_needs_a_plain_name_and_known_permissions(
    town: Town, db: Database, name: str, permissions: list[str], field: str
) -> None:
    chief = await staff(town, db, "admin")

    refused = error(await define(chief, name, *permissions), 400)

    assert refused["code"] == "VALIDATION_ERROR"
    assert list(refused["details"]["fields"]) == [field]


@pytest.mark.parametrize("name", ["wallets:fly", "reports", "Reports:read", "a:b"])
async def test_a_permission_needs_a_name_that_no_release_will_use(
    town: Town, db: Database, name: str
) -> None:
    chief = await staff(town, db, "admin")

    refused = error(
        await chief.ask("POST", "/rbac/permissions", name=name, meaning="Something."), 400
    )

    assert list(refused["details"]["fields"]) == ["name"]


async def test_names_are_given_once_and_repeating_the_same_is_no_conflict(
    town: Town, db: Database, superuser: Superuser
) -> None:
    chief = await staff(town, db, "admin")
    first, repeated, other = [
        await define(chief, "porter", *permissions)
        for permissions in (["users:read"], ["users:read"], ["ledger:read"])
    ]
    seeded = await define(chief, "support", "users:read")
    permission = {"name": "gates:open", "meaning": "Open the gates."}
    opened, again = [await chief.ask("POST", "/rbac/permissions", **permission) for _ in range(2)]
    changed = await chief.ask("POST", "/rbac/permissions", **permission | {"meaning": "Shut."})

    assert [first.status_code, repeated.status_code, other.status_code] == [201, 201, 409]
    assert seeded.status_code == 409
    assert [opened.status_code, again.status_code, changed.status_code] == [201, 201, 409]
    assert len(await events(superuser, "role.defined", "porter")) == 1


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_what_comes_with_guilder_is_not_redefined(
    town: Town, db: Database, method: str
) -> None:
    chief = await staff(town, db, "admin")
    body = {"permissions": ["users:read"]} if method == "PUT" else {}

    assert error(await chief.ask(method, "/rbac/roles/support", **body), 409)["code"] == "CONFLICT"
    for name in ("nobodys", "%00", "Ünknown"):
        assert error(await chief.ask(method, f"/rbac/roles/{name}", **body), 404)


async def test_nobody_gives_takes_or_defines_what_they_do_not_have(
    town: Town, db: Database
) -> None:
    chief, head, anna = (
        await staff(town, db, "admin"),
        await staff(town, db, "support"),
        await colleague(town, db),
    )
    data(await define(chief, "head_of_support", "roles:write", "audit:read"), 201)
    data(await define(chief, "auditor", "audit:read"), 201)
    data(await appoint(chief, head.id, "support", "head_of_support"))

    good = [
        await appoint(head, anna.id, "support"),
        await appoint(head, anna.id, "auditor"),
        await define(head, "reader", "audit:read", "users:read"),
    ]
    refused = [
        await appoint(head, anna.id, "admin"),
        await appoint(head, head.id, "support", "head_of_support", "operations"),
        await dismiss(head, chief.id),
        await define(head, "spender", "payments:reverse_any"),
        await head.ask("PUT", "/rbac/roles/reader", permissions=["ledger:write"]),
        await head.ask("POST", "/rbac/permissions", name="doors:open", meaning="Open them."),
    ]

    assert [answer.status_code for answer in good] == [200, 200, 201]
    assert {error(answer, 403)["code"] for answer in refused} == {"FORBIDDEN"}


async def test_a_role_that_grants_more_than_one_has_cannot_be_cut_down_or_removed(
    town: Town, db: Database
) -> None:
    chief, head = await staff(town, db, "admin"), await staff(town, db, "support")
    data(await define(chief, "poster", "ledger:write"), 201)
    data(await define(chief, "keeper", "roles:write"), 201)
    data(await appoint(chief, head.id, "keeper"))

    for answer in (
        await head.ask("PUT", "/rbac/roles/poster", permissions=[]),
        await head.ask("DELETE", "/rbac/roles/poster"),
    ):
        assert error(answer, 403)["code"] == "FORBIDDEN"


async def test_what_comes_with_an_account_is_neither_given_nor_taken(
    town: Town, db: Database
) -> None:
    chief, clerk, anna = (
        await staff(town, db, "admin"),
        await staff(town, db, "support"),
        await customer(town),
    )
    login = data(await town.login(email=anna.email, account_type="user_admin"))
    portal = login["user"]["id"]

    for whom, role in ((clerk.id, "customer"), (anna.id, "user_admin"), (portal, "support")):
        assert error(await appoint(chief, whom, role), 409)["code"] == "CONFLICT"
    assert data(await dismiss(chief, anna.id, "customer"))["roles"] == ["customer"]
    assert data(await dismiss(chief, portal))["roles"] == ["user_admin"]


async def test_unknown_roles_and_accounts_are_refused(town: Town, db: Database) -> None:
    chief, anna = await staff(town, db, "admin"), await colleague(town, db)

    role = error(await appoint(chief, anna.id, "emperor"), 400)
    account = error(await appoint(chief, str(new_id()), "support"), 404)

    assert list(role["details"]["fields"]) == ["roles"]
    assert account["code"] == "NOT_FOUND"


async def test_every_change_needs_a_reason(town: Town, db: Database) -> None:
    chief, anna = await staff(town, db, "admin"), await colleague(town, db)
    path = f"/rbac/users/{anna.id}/roles"

    for answer in (
        await chief.ask("PUT", path, roles=["support"]),
        await chief.ask("PUT", path, roles=["support"], reason=""),
        await chief.ask("DELETE", path),
    ):
        assert list(error(answer, 400)["details"]["fields"]) == ["reason"]


async def test_a_reason_may_come_in_the_body_of_a_dismissal(
    town: Town, db: Database, superuser: Superuser
) -> None:
    chief, anna = await staff(town, db, "admin"), await colleague(town, db)
    data(await appoint(chief, anna.id, "support", "compliance"))
    path = f"/rbac/users/{anna.id}/roles"

    left = data(await chief.ask("DELETE", path, role="support", reason="She left the team."))

    assert left["roles"] == ["compliance", "customer"]
    told = await events(superuser, "user.roles_changed", anna.id)
    assert "She left the team." in told[-1]["data"]


async def test_what_is_done_to_roles_is_told_with_the_reason(
    town: Town, db: Database, superuser: Superuser
) -> None:
    chief = await staff(town, db, "admin")
    grants = {"permissions": ["users:read"], "reason": REASON}
    permission = {"name": "vaults:open", "meaning": "Open vaults.", "reason": REASON}

    data(await define(chief, "vaulter", "users:read", reason=REASON), 201)
    data(await chief.ask("PUT", "/rbac/roles/vaulter", **grants))
    gone = await chief.ask("DELETE", "/rbac/roles/vaulter", reason=REASON)
    data(await chief.ask("POST", "/rbac/permissions", **permission), 201)

    assert gone.status_code == 204
    defined = await events(superuser, "role.defined", "vaulter")
    (removed,) = await events(superuser, "role.removed", "vaulter")
    (added,) = await events(superuser, "permission.defined", "vaults:open")
    assert len(defined) == 2
    assert all(REASON in fact["data"] for fact in (*defined, removed, added))


async def test_a_role_that_grants_what_a_release_took_away_is_changed_and_removed(
    town: Town, db: Database, superuser: Superuser
) -> None:
    chief = await staff(town, db, "admin")
    for name in ("changed", "removed"):
        data(await define(chief, name, "users:read"), 201)
    await superuser.execute(
        "UPDATE identity.roles SET permissions = permissions || ARRAY['gone:long_ago'] "
        "WHERE name IN ('changed', 'removed')"
    )

    changed = await chief.ask("PUT", "/rbac/roles/changed", permissions=["roles:read"])
    removed = await chief.ask("DELETE", "/rbac/roles/removed")
    kept = await chief.ask("PUT", "/rbac/roles/changed", permissions=["gone:long_ago"])

    assert data(changed)["permissions"] == ["roles:read"]
    assert removed.status_code == 204
    assert list(error(kept, 400)["details"]["fields"]) == ["permissions"]


@pytest.mark.parametrize("name", ["kyc:approve", "cards:issue", "wallets:melt"])
async def test_what_guilder_may_mean_one_day_is_no_permission_of_ones_own(
    town: Town, db: Database, name: str
) -> None:
    chief = await staff(town, db, "admin")

    refused = await chief.ask("POST", "/rbac/permissions", name=name, meaning="Melt it.")

    assert list(error(refused, 400)["details"]["fields"]) == ["name"]


async def alone(superuser: Superuser, *chiefs: Townsman) -> None:
    """Nobody else in this town is an administrator any more."""
    await superuser.execute(
        "DELETE FROM identity.role_assignments "
        "WHERE role = 'admin' AND account_id <> ALL($1::uuid[])",
        [chief.id for chief in chiefs],
    )


async def test_the_last_administrator_stays(town: Town, db: Database, superuser: Superuser) -> None:
    chief, deputy = await staff(town, db, "admin"), await staff(town, db, "admin")
    await alone(superuser, chief, deputy)

    data(await dismiss(chief, deputy.id))
    for answer in (
        await dismiss(chief, chief.id),
        await appoint(chief, chief.id, "support"),
        await chief.ask("PATCH", f"/admin/users/{chief.id}/role", role="support", reason=REASON),
    ):
        assert error(answer, 409)["code"] == "LAST_ADMINISTRATOR"
    assert await chief.may("roles:write")


async def test_a_frozen_administrator_is_none_who_could_be_left(
    town: Town, db: Database, superuser: Superuser
) -> None:
    chief, deputy = await staff(town, db, "admin"), await staff(town, db, "admin")
    await alone(superuser, chief, deputy)
    data(await chief.ask("POST", f"/admin/users/{deputy.id}/freeze", reason=REASON))

    assert error(await dismiss(chief, chief.id), 409)["code"] == "LAST_ADMINISTRATOR"


async def test_administrators_who_all_remove_each_other_at_once_leave_one(
    town: Town, db: Database, superuser: Superuser
) -> None:
    chiefs = [await staff(town, db, "admin") for _ in range(6)]
    await alone(superuser, *chiefs)

    answers = await asyncio.gather(
        *(
            dismiss(by, whom.id)
            if number % 2
            else by.ask("POST", f"/admin/users/{whom.id}/freeze", reason=REASON)
            for number, (by, whom) in enumerate(zip(chiefs, [*chiefs[1:], chiefs[0]], strict=True))
        )
    )

    left = await superuser.fetchval(
        "SELECT count(*) FROM identity.role_assignments r "
        "JOIN identity.users u ON u.id = r.account_id WHERE role = 'admin' AND status <> 'frozen'"
    )
    assert left >= 1
    assert {answer.status_code for answer in answers} <= {200, 401, 403, 409}


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM identity.role_assignments WHERE account_id = $1",
        "UPDATE identity.users SET status = 'frozen' WHERE id = $1",
    ],
)
async def test_whoever_lost_their_power_a_moment_ago_changes_nothing_more(
    town: Town, db: Database, superuser: Superuser, change: str
) -> None:
    chief, rogue, anna = (
        await staff(town, db, "admin"),
        await staff(town, db, "admin"),
        await customer(town),
    )
    # it is done past every process, as if none had heard of it yet
    await superuser.execute(change, UUID(rogue.id))

    for answer in (
        await appoint(rogue, anna.id, "support"),
        await define(rogue, "crony", "audit:read"),
        await rogue.ask("POST", f"/admin/users/{chief.id}/freeze", reason=REASON),
    ):
        assert error(answer, 403)["code"] == "FORBIDDEN"
    assert await chief.may("roles:write")


async def test_a_lost_answer_to_a_commit_does_no_harm(
    forgetful: ForgetfulDatabase, db: Database, superuser: Superuser, town: Town
) -> None:
    async with founded(forgetful, town.keys) as shaky:
        chief, anna = await staff(shaky, forgetful, "admin"), await colleague(shaky, db)

        data(await define(chief, "runner", "users:read"), 201)
        given = data(await appoint(chief, anna.id, "runner"))
        data(await dismiss(chief, anna.id))

        assert given["roles"] == ["customer", "runner"]
    assert len(await events(superuser, "role.defined", "runner")) == 1
    assert len(await events(superuser, "user.roles_changed", anna.id)) == 2
