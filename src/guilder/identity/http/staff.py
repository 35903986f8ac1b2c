"""Routes of staff: find users, look at one, freeze and unfreeze them, give them a staff role."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from msgspec import Meta, Struct

from guilder.identity.api import AccountView
from guilder.identity.api.roles import (
    BeyondOwnPermissions,
    CannotJoinStaff,
    FreezeView,
    LastAdministrator,
    RolesAreFixed,
    UserFile,
    UserNotFound,
)
from guilder.identity.service.appointments import Appointments
from guilder.identity.service.freezes import Freezes
from guilder.identity.service.people import Looking, People
from guilder.kernel.errors import NotPermitted, ValidationFailed
from guilder.kernel.ids import UserId
from guilder.platform.http.fields import Label, Name
from guilder.platform.http.pages import page_meta
from guilder.platform.http.route import Answer, Request, Route
from guilder.platform.permissions import CUSTOMER

_TAG: Final = "Staff"
_READ: Final = "users:read"
_FREEZE: Final = "users:freeze"

Address = Annotated[str, Meta(min_length=1, max_length=320)]


class SearchQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    """One of these, whole, and why: what is encrypted cannot be found by a part of it."""

    id: UUID | None = None
    email: Address | None = None
    phone: Address | None = None
    reason: Name


class LookQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    """Why somebody is looked at."""

    reason: Name


class FoundUser(Struct, kw_only=True):
    """A user as staff see them."""

    id: UUID
    account_type: str
    email: str
    email_verified: bool
    phone: str | None
    full_name: str
    status: str
    kyc_status: str
    roles: tuple[str, ...]
    created_at: datetime


class FreezeBody(Struct, kw_only=True):
    """A freeze: who did it and why, and who ended it."""

    reason: str
    frozen_by: UUID
    frozen_at: datetime
    unfrozen_by: UUID | None
    unfrozen_at: datetime | None
    unfreeze_reason: str | None


class UserFileBody(FoundUser, kw_only=True):
    """A user with every freeze, the newest first."""

    freezes: list[FreezeBody]


class Because(Struct, forbid_unknown_fields=True, kw_only=True):
    """Why it is done. Audit keeps it, and erases it with the user."""

    reason: Name


class NewRole(Struct, forbid_unknown_fields=True, kw_only=True):
    """The one role that staff give a user, ``customer`` for none, and why."""

    role: Label
    reason: Name


class StaffRoutes:
    """The handlers, each one use case."""

    def __init__(self, *, people: People, freezes: Freezes, appointments: Appointments) -> None:
        self._people = people
        self._freezes = freezes
        self._appointments = appointments

    async def search(self, request: Request) -> Answer:
        """By the user's id, or by the whole email or phone number: none or one is found.

        Who looked for whom is recorded, and why.
        """
        query: SearchQuery = request.query
        found = await self._people.search(
            user_id=None if query.id is None else UserId(query.id),
            email=query.email,
            phone=query.phone,
            looking=Looking(by=request.user.actor_id, reason=query.reason),
        )
        return Answer(data=[FoundUser(**_shown(one)) for one in found], meta=page_meta(None))

    async def one(self, request: Request) -> Answer:
        """A user, and when and why they were frozen. Who looked is recorded, as for a search."""
        query: LookQuery = request.query
        looking = Looking(by=request.user.actor_id, reason=query.reason)
        return await self._file(request, looking=looking)

    async def freeze(self, request: Request) -> Answer:
        """Their sessions end at once, their wallets freeze moments later. It may be repeated."""
        body: Because = request.body
        await self._freezes.freeze(UserId(request.id("id")), reason=body.reason, by=request.user)
        return await self._file(request)

    async def unfreeze(self, request: Request) -> Answer:
        """They may sign in, and the wallets that their freeze froze thaw. It may be repeated."""
        body: Because = request.body
        await self._freezes.unfreeze(UserId(request.id("id")), reason=body.reason, by=request.user)
        return await self._file(request)

    async def appoint(self, request: Request) -> Answer:
        """This role instead of every other that staff gave; it acts on their next request.

        Whoever joins staff by it has to have proved their email.
        """
        body: NewRole = request.body
        wanted = frozenset[str]() if body.role == CUSTOMER else frozenset({body.role})
        await self._appointments.appoint(
            UserId(request.id("id")), roles=wanted, reason=body.reason, by=request.user
        )
        return await self._file(request)

    async def _file(self, request: Request, *, looking: Looking | None = None) -> Answer:
        found = await self._people.file(UserId(request.id("id")), looking=looking)
        return Answer(data=_file(found))

    def routes(self) -> tuple[Route, ...]:
        """Every route of staff."""
        because = {"reason": "The owner reported a stolen phone."}
        acts: dict[str, Any] = {
            "access": _FREEZE,
            "body": Because,
            "answers": UserFileBody,
            "tag": _TAG,
            "example": because,
        }
        return (
            Route(
                method="GET",
                path="/admin/users/search",
                handler=self.search,
                access=_READ,
                summary="Find a user",
                tag=_TAG,
                query=SearchQuery,
                answers=FoundUser,
                is_list=True,
                raises=(ValidationFailed,),
            ),
            Route(
                method="GET",
                path="/admin/users/{id}",
                handler=self.one,
                access=_READ,
                summary="Look at a user",
                tag=_TAG,
                query=LookQuery,
                answers=UserFileBody,
                raises=(UserNotFound,),
            ),
            Route(
                method="POST",
                path="/admin/users/{id}/freeze",
                handler=self.freeze,
                summary="Freeze a user",
                raises=(UserNotFound, BeyondOwnPermissions, LastAdministrator, NotPermitted),
                **acts,
            ),
            Route(
                method="POST",
                path="/admin/users/{id}/unfreeze",
                handler=self.unfreeze,
                summary="Unfreeze a user",
                raises=(UserNotFound, BeyondOwnPermissions),
                **acts,
            ),
            Route(
                method="PATCH",
                path="/admin/users/{id}/role",
                handler=self.appoint,
                access="roles:write",
                summary="Give a user a staff role",
                tag=_TAG,
                body=NewRole,
                answers=UserFileBody,
                raises=(
                    UserNotFound,
                    ValidationFailed,
                    RolesAreFixed,
                    BeyondOwnPermissions,
                    CannotJoinStaff,
                    LastAdministrator,
                ),
                example={"role": "support", "reason": "Joined the support team."},
            ),
        )


def _shown(account: AccountView) -> dict[str, Any]:
    return {
        "id": account.id,
        "account_type": account.account_type.value,
        "email": account.email,
        "email_verified": account.email_verified,
        "phone": account.phone,
        "full_name": account.full_name,
        "status": account.status,
        "kyc_status": account.kyc_status,
        "roles": account.roles,
        "created_at": account.created_at,
    }


def _file(file: UserFile) -> UserFileBody:
    return UserFileBody(**_shown(file.account), freezes=[_freeze(one) for one in file.freezes])


def _freeze(freeze: FreezeView) -> FreezeBody:
    return FreezeBody(
        reason=freeze.reason,
        frozen_by=freeze.frozen_by,
        frozen_at=freeze.frozen_at,
        unfrozen_by=freeze.unfrozen_by,
        unfrozen_at=freeze.unfrozen_at,
        unfreeze_reason=freeze.unfreeze_reason,
    )
