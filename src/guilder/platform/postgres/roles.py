"""Who may do what in the database: one role that owns, one that migrates, one for the application.

- ``guilder_owner`` cannot log in and owns every schema; only migrations act as it.
- ``guilder_migrator`` logs in to migrate. ``guilder_app`` logs in to serve.
- ``guilder_auditor`` logs in to read schema ``check_v1``, and nothing else.
- ``guilder_<context>`` cannot log in; it holds what a context's code may do, and the application
  is a member of each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import asyncpg

from guilder.platform.startup import CannotStart

OWNER: Final = "guilder_owner"
MIGRATOR: Final = "guilder_migrator"
APP: Final = "guilder_app"
AUDITOR: Final = "guilder_auditor"
CHECK_SCHEMA: Final = "check_v1"

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
_ATTEMPTS: Final = 5


class RolesMissing(CannotStart):
    """Roles or schemas are missing and this user may not make them; the message has the SQL."""


def context_role(context: str) -> str:
    """The role that holds the rights of ``context``."""
    return f"guilder_{context}"


async def prepare_roles(
    connection: Connection, *, contexts: Sequence[str], passwords: Mapping[str, str]
) -> None:
    """Make the roles and empty schemas that are missing, and set the given ``passwords``.

    What is there already is left as it is, so a user without the right to make roles can call
    this once an administrator has run what `statements` lists.

    Raises:
        RolesMissing: something is missing and the user may not make it.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        missing = await statements(connection, contexts=contexts)
        try:
            async with connection.transaction():
                for statement in missing:
                    await connection.execute(statement)
                for role, password in passwords.items():
                    await _set_password(connection, role=role, password=password)
        except asyncpg.InsufficientPrivilegeError as error:
            raise RolesMissing(_instructions(missing, reason=str(error))) from error
        except (
            asyncpg.DuplicateObjectError,
            asyncpg.UniqueViolationError,
            asyncpg.InternalServerError,
        ):
            # roles belong to the whole server: another database's migration was faster
            if attempt == _ATTEMPTS:
                raise
            await asyncio.sleep(0.05 * attempt)
        else:
            return


async def statements(connection: Connection, *, contexts: Sequence[str]) -> list[str]:
    """The SQL that this database still needs before its migrations can run."""
    needed = await _missing_roles(connection, contexts)
    needed += await _missing_memberships(connection, contexts)
    needed += await _missing_schemas(connection, contexts)
    return needed


async def _missing_roles(connection: Connection, contexts: Sequence[str]) -> list[str]:
    there = {row["rolname"] for row in await connection.fetch("SELECT rolname FROM pg_roles")}
    wanted = {OWNER: "NOLOGIN", MIGRATOR: "LOGIN", APP: "LOGIN", AUDITOR: "LOGIN"}
    wanted |= {context_role(context): "NOLOGIN" for context in contexts}
    return [f"CREATE ROLE {role} {may}" for role, may in wanted.items() if role not in there]


async def _missing_memberships(connection: Connection, contexts: Sequence[str]) -> list[str]:
    rows = await connection.fetch("""
        SELECT granted.rolname AS role, member.rolname AS member
        FROM pg_auth_members AS m
        JOIN pg_roles AS granted ON granted.oid = m.roleid
        JOIN pg_roles AS member ON member.oid = m.member
    """)
    there = {(row["role"], row["member"]) for row in rows}
    wanted = [(OWNER, MIGRATOR), *((context_role(context), APP) for context in contexts)]
    user = await connection.fetchrow(
        "SELECT rolname, rolsuper FROM pg_roles WHERE rolname = current_user"
    )
    if user is not None and not user["rolsuper"]:
        # PostgreSQL 16 and later give the maker of a role its administration, not its use
        wanted += [(role, user["rolname"]) for role in (OWNER, APP) if role != user["rolname"]]
    return [
        f'GRANT {role} TO "{member}"'
        for role, member in wanted
        if not await _is_usable(connection, role=role, member=member, there=there)
    ]


async def _is_usable(
    connection: Connection, *, role: str, member: str, there: set[tuple[str, str]]
) -> bool:
    """Whether ``member`` can act as ``role``; membership alone does not say so since 16."""
    if (role, member) not in there:
        return False
    usable: bool = await connection.fetchval("SELECT pg_has_role($1, $2, 'USAGE')", member, role)
    return usable


async def _missing_schemas(connection: Connection, contexts: Sequence[str]) -> list[str]:
    there = {row["nspname"] for row in await connection.fetch("SELECT nspname FROM pg_namespace")}
    needed = []
    for context in contexts:
        if context not in there:
            needed += [
                f"CREATE SCHEMA {context} AUTHORIZATION {OWNER}",
                f"GRANT USAGE ON SCHEMA {context} TO {context_role(context)}",
            ]
    if CHECK_SCHEMA not in there:
        needed += [
            f"CREATE SCHEMA {CHECK_SCHEMA} AUTHORIZATION {OWNER}",
            f"GRANT USAGE ON SCHEMA {CHECK_SCHEMA} TO {AUDITOR}",
        ]
        default = f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} IN SCHEMA {CHECK_SCHEMA}"
        needed.append(f"{default} GRANT SELECT ON TABLES TO {AUDITOR}")
    return needed


async def _set_password(connection: Connection, *, role: str, password: str) -> None:
    quoted = await connection.fetchval("SELECT quote_literal($1::text)", password)
    await connection.execute(f'ALTER ROLE "{role}" PASSWORD {quoted}')


def _instructions(missing: Sequence[str], *, reason: str) -> str:
    sql = "\n".join(f"  {statement};" for statement in missing)
    return (
        f"the database lacks roles or schemas that this user may not make ({reason}).\n"
        f"Set GUILDER_MIGRATION_DATABASE_URL to a user who may, or let an administrator run:\n{sql}"
    )
