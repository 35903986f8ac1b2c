"""Roles and permissions: which there are, and who may add and change them.

Every change is made under the lock of all roles and judged by what the database says then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from guilder.identity.api.roles import (
    BeyondOwnPermissions,
    PermissionView,
    RoleComesWithGuilder,
    RoleExists,
    RoleInUse,
    RoleNotFound,
    RoleView,
)
from guilder.identity.domain import roles as rules
from guilder.identity.events import reasoned
from guilder.identity.events.staff import (
    PermissionDefined,
    RoleDefined,
    RoleGrants,
    RoleRemoved,
)
from guilder.identity.service.appointments import held_by
from guilder.identity.store import revocations
from guilder.identity.store import roles as store
from guilder.identity.store.roles import StoredRole
from guilder.kernel.errors import ValidationFailed
from guilder.platform.auth import Caller
from guilder.platform.db import Database, Tx
from guilder.platform.once import run_once
from guilder.platform.outbox import Fact, append, outgoing
from guilder.platform.permissions import (
    ADMIN,
    PERMISSIONS,
    RESERVED_RESOURCES,
    Definitions,
    powers,
)

Result = TypeVar("Result")


class Roles:
    """Defines roles."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def every(self) -> list[RoleView]:
        """Every role, those that come with Guilder first."""

        async def read(tx: Tx) -> list[RoleView]:
            defined = await revocations.definitions(tx)
            return [_view(role, defined) for role in await store.every(tx)]

        return await self._db.run(read)

    async def permissions(self) -> list[PermissionView]:
        """Every permission, those that Guilder asks for first."""
        added = await self._db.run(store.permissions)
        own = (
            PermissionView(name=name, meaning=meaning, comes_with_guilder=True)
            for name, meaning in PERMISSIONS.items()
        )
        return [*own, *added]

    async def add_permission(
        self, name: str, *, meaning: str, by: Caller, reason: str | None = None
    ) -> PermissionView:
        """Add a permission that something beside Guilder will ask for. Administrators have it.

        Raises:
            ValidationFailed: the name is not one.
            RoleExists: there is one of this name.
            BeyondOwnPermissions: the caller is not an administrator, who alone will have it.
        """
        problem = rules.permission_problem(name, own_resources=RESERVED_RESOURCES)
        if problem is not None:
            raise ValidationFailed(fields={"name": problem})

        async def work(tx: Tx) -> PermissionView:
            caller = await store.appointed(tx, by.user_id)
            if caller is None or ADMIN not in caller.roles:
                raise BeyondOwnPermissions
            view = PermissionView(name=name, meaning=meaning, comes_with_guilder=False)
            if not await store.add_permission(tx, name, meaning=meaning, made_by=by.actor_id):
                return _repeated(view, there=await store.permissions(tx))
            await revocations.definitions_changed(tx)
            fact = PermissionDefined(
                permission=name, meaning=meaning, by=by.actor_id, personal=reasoned(reason)
            )
            await append(tx, [outgoing(fact, key=name)])
            return view

        return await self._alone(work)

    async def add(
        self,
        name: str,
        *,
        description: str,
        permissions: frozenset[str],
        by: Caller,
        reason: str | None = None,
    ) -> RoleView:
        """Add a role that grants these permissions.

        Raises:
            ValidationFailed: the name is not one, or a permission is unknown.
            RoleExists: there is one of this name.
            BeyondOwnPermissions: it would grant what the caller does not have.
        """
        problem = rules.name_problem(name)
        if problem is not None:
            raise ValidationFailed(fields={"name": problem})

        async def work(tx: Tx) -> RoleView:
            await _judge_grants(tx, permissions, by=by)
            actor_id = by.actor_id
            added = await store.add(
                tx, name, description=description, permissions=permissions, made_by=actor_id
            )
            if not added:
                return await _added_before(
                    tx, name, description=description, permissions=permissions
                )
            after = RoleGrants(permissions=tuple(sorted(permissions)))
            fact = RoleDefined(
                role=name, by=actor_id, before=None, after=after, personal=reasoned(reason)
            )
            return await _defined(tx, name, fact)

        return await self._alone(work)

    async def change(
        self,
        name: str,
        *,
        description: str,
        permissions: frozenset[str],
        by: Caller,
        reason: str | None = None,
    ) -> RoleView:
        """Let a role grant these permissions and no others, to everybody who has it.

        Raises:
            RoleNotFound: there is none of this name.
            RoleComesWithGuilder: the release says what it grants.
            ValidationFailed: a permission is unknown.
            BeyondOwnPermissions: it grants or would grant what the caller does not have.
        """

        async def work(tx: Tx) -> RoleView:
            role = await _custom(tx, name)
            await _judge_grants(tx, permissions, by=by, before=role.permissions)
            await store.change(tx, name, description=description, permissions=permissions)
            fact = RoleDefined(
                role=name,
                by=by.actor_id,
                before=RoleGrants(permissions=tuple(sorted(role.permissions))),
                after=RoleGrants(permissions=tuple(sorted(permissions))),
                personal=reasoned(reason),
            )
            return await _defined(tx, name, fact)

        return await self._alone(work)

    async def remove(self, name: str, *, by: Caller, reason: str | None = None) -> None:
        """Remove a role that nobody has.

        Raises:
            RoleNotFound: there is none of this name.
            RoleComesWithGuilder: it stays as long as the release has it.
            RoleInUse: somebody has it.
            BeyondOwnPermissions: it grants what the caller does not have.
        """

        async def work(tx: Tx) -> None:
            role = await _custom(tx, name)
            await _judge_grants(tx, frozenset(), by=by, before=role.permissions)
            if await store.is_held(tx, name):
                raise RoleInUse
            await store.remove(tx, name)
            await revocations.definitions_changed(tx)
            before = RoleGrants(permissions=tuple(sorted(role.permissions)))
            fact = RoleRemoved(role=name, by=by.actor_id, before=before, personal=reasoned(reason))
            await _publish(tx, fact, key=name)

        await self._alone(work)

    async def _alone(self, work: Callable[[Tx], Awaitable[Result]]) -> Result:
        async def locked(tx: Tx) -> Result:
            await store.lock(tx)
            return await work(tx)

        return await run_once(self._db, locked)


async def _judge_grants(
    tx: Tx, permissions: frozenset[str], *, by: Caller, before: frozenset[str] = frozenset()
) -> None:
    """See that a role may grant these permissions, which granted others ``before``.

    Of those a later release may have none any more; nobody can have them, and nobody needs to.
    """
    defined = await revocations.definitions(tx)
    strange = sorted(defined.unknown(permissions))
    if strange:
        raise ValidationFailed(
            fields={"permissions": f"there is no permission {', '.join(strange)}"}
        )
    moved = permissions | (before - defined.unknown(before))
    if powers(moved) - await held_by(tx, by, defined=defined):
        raise BeyondOwnPermissions


async def _custom(tx: Tx, name: str) -> StoredRole:
    role = None if rules.name_problem(name) else await store.one(tx, name)
    if role is None:
        raise RoleNotFound
    if role.comes_with_guilder:
        raise RoleComesWithGuilder
    return role


async def _defined(tx: Tx, name: str, fact: RoleDefined) -> RoleView:
    await revocations.definitions_changed(tx)
    await _publish(tx, fact, key=name)
    role = await store.one(tx, name)
    if role is None:
        raise RoleNotFound
    return _view(role, await revocations.definitions(tx))


def _repeated(view: PermissionView, *, there: list[PermissionView]) -> PermissionView:
    """What was added before, by the same words: its answer was lost."""
    if view not in there:
        raise RoleExists
    return view


async def _added_before(
    tx: Tx, name: str, *, description: str, permissions: frozenset[str]
) -> RoleView:
    """The role that was added before, by the same words: its answer was lost."""
    role = await store.one(tx, name)
    if role is None or (role.description, role.permissions) != (description, permissions):
        raise RoleExists
    return _view(role, await revocations.definitions(tx))


async def _publish(tx: Tx, fact: Fact, *, key: str) -> None:
    await append(tx, [outgoing(fact, key=key)])


def _view(role: StoredRole, defined: Definitions) -> RoleView:
    return RoleView(
        name=role.name,
        description=role.description,
        permissions=tuple(sorted(defined.granted([role.name]))),
        comes_with_guilder=role.comes_with_guilder,
    )
