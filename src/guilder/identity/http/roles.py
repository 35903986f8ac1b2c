"""Routes of roles and permissions: which there are, and what they grant."""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from guilder.identity.api.roles import (
    BeyondOwnPermissions,
    RoleComesWithGuilder,
    RoleExists,
    RoleInUse,
    RoleNotFound,
    RoleView,
)
from guilder.identity.service.roles import Roles
from guilder.kernel.errors import ValidationFailed
from guilder.platform.http.fields import Description, Label, Name
from guilder.platform.http.pages import page_meta
from guilder.platform.http.route import Answer, Request, Route

_TAG: Final = "Roles"
_READ: Final = "roles:read"
_WRITE: Final = "roles:write"
Permission = Annotated[str, Meta(min_length=3, max_length=81)]
Permissions = Annotated[list[Permission], Meta(max_length=200)]


class RoleBody(Struct, kw_only=True):
    """A role. What one of ``comes_with_guilder`` grants changes with releases only."""

    name: str
    description: str
    permissions: tuple[str, ...]
    comes_with_guilder: bool


class NewRole(Struct, forbid_unknown_fields=True, kw_only=True):
    """A role to be added."""

    name: Label
    description: Description = ""
    permissions: Permissions
    reason: Name | None = None


class RoleChange(Struct, forbid_unknown_fields=True, kw_only=True):
    """What a role is from now on."""

    description: Description = ""
    permissions: Permissions
    reason: Name | None = None


class RoleRemoval(Struct, forbid_unknown_fields=True, kw_only=True):
    """Why a role goes."""

    reason: Name | None = None


class PermissionBody(Struct, kw_only=True):
    """A permission, ``resource:action``."""

    name: str
    meaning: str
    comes_with_guilder: bool


class NewPermission(Struct, forbid_unknown_fields=True, kw_only=True):
    """A permission to be added."""

    name: Permission
    meaning: Name
    reason: Name | None = None


class RoleRoutes:
    """The handlers, each one use case."""

    def __init__(self, roles: Roles) -> None:
        self._roles = roles

    async def every(self, request: Request) -> Answer:  # noqa: ARG002 - a handler's shape
        """Those that come with Guilder first."""
        return Answer(
            data=[_role(role) for role in await self._roles.every()], meta=page_meta(None)
        )

    async def add(self, request: Request) -> Answer:
        """A role of one's own, of permissions that the caller has. Adding it again is the same."""
        body: NewRole = request.body
        role = await self._roles.add(
            body.name,
            description=body.description,
            permissions=frozenset(body.permissions),
            by=request.user,
            reason=body.reason,
        )
        return Answer(data=_role(role))

    async def change(self, request: Request) -> Answer:
        """Whoever has the role may do this on their next request, and nothing else by it."""
        body: RoleChange = request.body
        role = await self._roles.change(
            request.params["name"],
            description=body.description,
            permissions=frozenset(body.permissions),
            by=request.user,
            reason=body.reason,
        )
        return Answer(data=_role(role))

    async def remove(self, request: Request) -> Answer:
        """A role that nobody has."""
        body: RoleRemoval = request.body
        await self._roles.remove(request.params["name"], by=request.user, reason=body.reason)
        return Answer(data=None)

    async def permissions(self, request: Request) -> Answer:  # noqa: ARG002 - a handler's shape
        """Everything that a role can grant."""
        found = await self._roles.permissions()
        listed = [
            PermissionBody(
                name=one.name, meaning=one.meaning, comes_with_guilder=one.comes_with_guilder
            )
            for one in found
        ]
        return Answer(data=listed, meta=page_meta(None))

    async def add_permission(self, request: Request) -> Answer:
        """For services beside Guilder that ask ``GET /rbac/check``. Administrators have it."""
        body: NewPermission = request.body
        made = await self._roles.add_permission(
            body.name, meaning=body.meaning, by=request.user, reason=body.reason
        )
        return Answer(
            data=PermissionBody(name=made.name, meaning=made.meaning, comes_with_guilder=False)
        )

    def routes(self) -> tuple[Route, ...]:
        """Every route of roles."""
        return (*self._role_routes(), *self._permission_routes())

    def _role_routes(self) -> tuple[Route, ...]:
        teller = {"permissions": ["users:read", "wallets:read_any"]}
        return (
            _route(
                "GET",
                "/rbac/roles",
                self.every,
                _READ,
                summary="List roles",
                answers=RoleBody,
                is_list=True,
            ),
            _route(
                "POST",
                "/rbac/roles",
                self.add,
                _WRITE,
                summary="Add a role",
                body=NewRole,
                answers=RoleBody,
                status=201,
                raises=(ValidationFailed, RoleExists, BeyondOwnPermissions),
                example={"name": "teller", "description": "Helps at the counter.", **teller},
            ),
            _route(
                "PUT",
                "/rbac/roles/{name}",
                self.change,
                _WRITE,
                summary="Change what a role grants",
                body=RoleChange,
                answers=RoleBody,
                raises=(
                    ValidationFailed,
                    RoleNotFound,
                    RoleComesWithGuilder,
                    BeyondOwnPermissions,
                ),
                example={"description": "Helps at the counter.", **teller},
            ),
            _route(
                "DELETE",
                "/rbac/roles/{name}",
                self.remove,
                _WRITE,
                summary="Remove a role",
                body=RoleRemoval,
                status=204,
                raises=(RoleNotFound, RoleComesWithGuilder, RoleInUse, BeyondOwnPermissions),
                example={"reason": "Nobody works at the counter any more."},
            ),
        )

    def _permission_routes(self) -> tuple[Route, ...]:
        return (
            _route(
                "GET",
                "/rbac/permissions",
                self.permissions,
                _READ,
                summary="List permissions",
                answers=PermissionBody,
                is_list=True,
            ),
            _route(
                "POST",
                "/rbac/permissions",
                self.add_permission,
                _WRITE,
                summary="Add a permission",
                body=NewPermission,
                answers=PermissionBody,
                status=201,
                raises=(ValidationFailed, RoleExists, BeyondOwnPermissions),
                example={"name": "reports:read", "meaning": "Read the monthly reports."},
            ),
        )


def _route(
    method: str, path: str, handler: Any, access: str | tuple[str, ...], /, **more: Any
) -> Route:
    return Route(method=method, path=path, handler=handler, access=access, tag=_TAG, **more)


def _role(role: RoleView) -> RoleBody:
    return RoleBody(
        name=role.name,
        description=role.description,
        permissions=role.permissions,
        comes_with_guilder=role.comes_with_guilder,
    )
