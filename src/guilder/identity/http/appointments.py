"""Routes of appointments: who has which role, and whether somebody may."""

from __future__ import annotations

from typing import Annotated, Any, Final
from uuid import UUID

from msgspec import Meta, Struct

from guilder.identity.api.roles import (
    BeyondOwnPermissions,
    CannotJoinStaff,
    LastAdministrator,
    RolesAreFixed,
    RolesView,
    UserNotFound,
)
from guilder.identity.service.appointments import Appointments
from guilder.kernel.errors import NotPermitted, Refusal, ValidationFailed
from guilder.kernel.ids import UserId
from guilder.platform.http.fields import Label, Name
from guilder.platform.http.route import Answer, Request, Route

_TAG: Final = "Roles"
_READ: Final = "roles:read"
_WRITE: Final = "roles:write"
_ASK: Final = ("roles:own", _READ)
_CHANGES: Final[tuple[type[Refusal], ...]] = (
    UserNotFound,
    ValidationFailed,
    RolesAreFixed,
    BeyondOwnPermissions,
    CannotJoinStaff,
    LastAdministrator,
)

Permission = Annotated[str, Meta(min_length=3, max_length=81)]
RoleNames = Annotated[list[Label], Meta(max_length=50)]


class RolesBody(Struct, kw_only=True):
    """What an account is appointed to, and everything that this grants; nothing while frozen."""

    user_id: UUID
    account_id: UUID
    account_type: str
    roles: tuple[str, ...]
    permissions: tuple[str, ...]


class Appointment(Struct, forbid_unknown_fields=True, kw_only=True):
    """The roles an account is to have, and why."""

    roles: RoleNames
    reason: Name


class Dismissal(Struct, forbid_unknown_fields=True, kw_only=True):
    """Which role to take, or else every one, and why: here or in the query."""

    role: Label | None = None
    reason: Name | None = None


class CheckQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    """Whether somebody may: the caller, where no other is named."""

    permission: Permission
    user_id: UUID | None = None


class CheckBody(Struct, kw_only=True):
    """Whether they may."""

    user_id: UUID
    permission: str
    allowed: bool


class AppointmentRoutes:
    """The handlers, each one use case."""

    def __init__(self, appointments: Appointments) -> None:
        self._appointments = appointments

    async def of(self, request: Request) -> Answer:
        """One's own, or anybody's with ``roles:read``. The id is the account's: the user's own."""
        account_id = UserId(request.id("id"))
        caller = request.user
        if account_id != caller.user_id and not caller.may(_READ):
            raise UserNotFound
        return Answer(data=_roles(await self._appointments.of(account_id)))

    async def appoint(self, request: Request) -> Answer:
        """Exactly these roles; what comes with the account stays. It acts on the next request.

        Whoever joins staff by it has to have proved their email.
        """
        body: Appointment = request.body
        after = await self._appointments.appoint(
            UserId(request.id("id")),
            roles=frozenset(body.roles),
            reason=body.reason,
            by=request.user,
        )
        return Answer(data=_roles(after))

    async def dismiss(self, request: Request) -> Answer:
        """One role, or all of them. It acts on the next request.

        A reason is needed; in the body it is in no log of addresses.
        """
        query: Dismissal = request.query
        body: Dismissal = request.body
        reason = body.reason or query.reason
        if reason is None:
            raise ValidationFailed(fields={"reason": "is needed"})
        after = await self._appointments.dismiss(
            UserId(request.id("id")),
            role=body.role or query.role,
            reason=reason,
            by=request.user,
        )
        return Answer(data=_roles(after))

    async def check(self, request: Request) -> Answer:
        """Whether the caller has a permission, or another user, which takes ``roles:read``."""
        query: CheckQuery = request.query
        caller = request.user
        if query.user_id is None or query.user_id == caller.user_id:
            allowed = caller.may(query.permission)
        elif caller.may(_READ):
            found = await self._appointments.of(UserId(query.user_id))
            allowed = query.permission in found.permissions
        else:
            raise NotPermitted
        return Answer(
            data=CheckBody(
                user_id=query.user_id or caller.user_id,
                permission=query.permission,
                allowed=allowed,
            )
        )

    def routes(self) -> tuple[Route, ...]:
        """Every route of appointments."""
        path = "/rbac/users/{id}/roles"
        return (
            _route(
                "GET",
                path,
                self.of,
                _ASK,
                summary="The roles of an account",
                answers=RolesBody,
                raises=(UserNotFound,),
            ),
            _route(
                "PUT",
                path,
                self.appoint,
                _WRITE,
                summary="Appoint an account to roles",
                body=Appointment,
                answers=RolesBody,
                raises=_CHANGES,
                example={"roles": ["support"], "reason": "Joined the support team."},
            ),
            _route(
                "DELETE",
                path,
                self.dismiss,
                _WRITE,
                summary="Take roles from an account",
                query=Dismissal,
                body=Dismissal,
                answers=RolesBody,
                raises=_CHANGES,
                example={"role": "support", "reason": "Left the support team."},
            ),
            _route(
                "GET",
                "/rbac/check",
                self.check,
                _ASK,
                summary="Ask whether somebody may",
                query=CheckQuery,
                answers=CheckBody,
                raises=(NotPermitted, UserNotFound),
            ),
        )


def _route(
    method: str, path: str, handler: Any, access: str | tuple[str, ...], /, **more: Any
) -> Route:
    return Route(method=method, path=path, handler=handler, access=access, tag=_TAG, **more)


def _roles(view: RolesView) -> RolesBody:
    return RolesBody(
        user_id=view.user_id,
        account_id=view.account_id,
        account_type=view.account_type.value,
        roles=view.roles,
        permissions=view.permissions,
    )
