"""Routes of personal data: one's own in one file; holds and erasure, for staff."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct

from guilder.identity.api.personal_data import (
    Erasures,
    Export,
    Hold,
    LegalHold,
    MoneyRemains,
    RetainedByLaw,
    StillStaff,
)
from guilder.identity.api.roles import UserNotFound
from guilder.identity.service.personal_data import LegalHolds, PersonalExport
from guilder.kernel.errors import NotPermitted
from guilder.kernel.ids import UserId
from guilder.platform.http.fields import Name
from guilder.platform.http.route import Access, Answer, Request, Route

_STAFF: Final = "Staff"
_HOLD: Final = "users:hold"
_HOLD_PATH: Final = "/admin/users/{id}/legal-hold"
_BECAUSE: Final = {"reason": "Order 17/2026 of the district court."}


class LegalReason(Struct, forbid_unknown_fields=True, kw_only=True):
    """Why it is done. Audit keeps it, and erases it with the user."""

    reason: Name


class ErasureReason(Struct, forbid_unknown_fields=True, kw_only=True):
    """Why it is done, without naming the person: it is kept."""

    reason: Name


class HoldBody(Struct, kw_only=True):
    """A legal hold: while it is there, nobody erases the user."""

    id: UUID
    user_id: UUID
    reason: str
    placed_by: UUID
    placed_at: datetime


class HoldAnswer(Struct, kw_only=True):
    """The hold on a user, or null."""

    legal_hold: HoldBody | None


class ErasedBody(Struct, kw_only=True):
    """What is left of an erased user."""

    id: UUID
    status: str
    erased_at: datetime


class HeldRole(Struct, kw_only=True):
    """A role, and since when."""

    role: str
    since: datetime


class Opener(Struct, kw_only=True):
    """Something that opens your account beside the password.

    An authenticator_app, a passkey, a provider, a remembered_device or a machine_client.
    """

    kind: str
    name: str | None
    since: datetime
    last_used_at: datetime | None


class UsedSession(Struct, kw_only=True):
    """Where and with what somebody signed in."""

    id: UUID
    account_type: str
    user_agent: str | None
    client_address: str | None
    methods: tuple[str, ...]
    started_at: datetime
    last_used_at: datetime
    expires_at: datetime


class ExportBody(Struct, kw_only=True):
    """What is known of somebody, in words that a machine can read."""

    id: UUID
    email: str
    phone: str | None
    full_name: str
    status: str
    kyc_status: str
    registered_at: datetime
    roles: list[HeldRole]
    ways_in: list[Opener]
    sessions: list[UsedSession]


class PersonalDataRoutes:
    """The handlers, each one use case. Without ``erasures`` nobody is erased here."""

    def __init__(
        self, *, export: PersonalExport, holds: LegalHolds, erasures: Erasures | None
    ) -> None:
        self._export = export
        self._holds = holds
        self._erasures = erasures

    async def export(self, request: Request) -> Answer:
        """Who you are and how you sign in, as it is known here: to keep, or to take elsewhere.

        Wallets, payments, webhook endpoints, and devices and preferences of notifications are in
        their own lists.
        """
        return Answer(
            data=_exported(await self._export.of(request.user.user_id)),
            headers=(("Content-Disposition", 'attachment; filename="my-data.json"'),),
        )

    async def hold(self, request: Request) -> Answer:
        """The legal hold on a user, if there is one."""
        found = await self._holds.on(UserId(request.id("id")))
        return Answer(data=HoldAnswer(legal_hold=None if found is None else _held(found)))

    async def place(self, request: Request) -> Answer:
        """While it is there, nobody erases the user. It may be repeated."""
        body: LegalReason = request.body
        placed = await self._holds.place(
            UserId(request.id("id")), reason=body.reason, by=request.user.actor_id
        )
        return Answer(data=HoldAnswer(legal_hold=_held(placed)))

    async def lift(self, request: Request) -> Answer:
        """The user may be erased again. It may be repeated."""
        body: LegalReason = request.body
        await self._holds.lift(
            UserId(request.id("id")), reason=body.reason, by=request.user.actor_id
        )
        return Answer(data=HoldAnswer(legal_hold=None))

    async def erase(self, request: Request) -> Answer:
        """Forget somebody for good: there is no way back. What they hold is closed with it.

        Entries of the ledger stay, under an id that is nobody's any more. It may be repeated.
        """
        if self._erasures is None:
            raise AssertionError  # pragma: no cover - the route is not there then
        user_id, body = UserId(request.id("id")), request.body
        erased_at = await self._erasures.erase(
            user_id, reason=body.reason, by=request.user.actor_id
        )
        return Answer(data=ErasedBody(id=user_id, status="erased", erased_at=erased_at))

    def routes(self) -> tuple[Route, ...]:
        """The routes for everybody, and those for staff."""
        mine = Route(
            method="GET",
            path="/auth/me/export",
            handler=self.export,
            access=Access.ANY_CALLER,
            summary="Take your data with you",
            tag="Personal data",
            answers=ExportBody,
        )
        return (mine, *self._of_holds(), *(() if self._erasures is None else (self._erasing(),)))

    def _of_holds(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path=_HOLD_PATH,
                handler=self.hold,
                access="users:read",
                summary="See a legal hold",
                tag=_STAFF,
                answers=HoldAnswer,
                raises=(UserNotFound,),
            ),
            Route(
                method="PUT",
                path=_HOLD_PATH,
                handler=self.place,
                access=_HOLD,
                summary="Place a legal hold",
                tag=_STAFF,
                body=LegalReason,
                answers=HoldAnswer,
                raises=(NotPermitted, UserNotFound),
                example=_BECAUSE,
            ),
            Route(
                method="DELETE",
                path=_HOLD_PATH,
                handler=self.lift,
                access=_HOLD,
                summary="Lift a legal hold",
                tag=_STAFF,
                body=LegalReason,
                answers=HoldAnswer,
                raises=(NotPermitted, UserNotFound),
                example={"reason": "The proceedings have ended."},
            ),
        )

    def _erasing(self) -> Route:
        return Route(
            method="DELETE",
            path="/admin/users/{id}",
            handler=self.erase,
            access="users:erase",
            summary="Erase a user",
            tag=_STAFF,
            body=ErasureReason,
            answers=ErasedBody,
            raises=(UserNotFound, StillStaff, LegalHold, MoneyRemains, RetainedByLaw),
            example={"reason": "Asked for it by letter on 12 November 2026."},
        )


def _held(hold: Hold) -> HoldBody:
    return HoldBody(
        id=hold.id,
        user_id=hold.user_id,
        reason=hold.reason,
        placed_by=hold.placed_by,
        placed_at=hold.placed_at,
    )


def _exported(export: Export) -> ExportBody:
    account = export.account
    return ExportBody(
        id=account.user_id,
        email=account.email,
        phone=account.phone,
        full_name=account.full_name,
        status=account.status,
        kyc_status=account.kyc_status,
        registered_at=account.created_at,
        roles=[HeldRole(role=role, since=since) for role, since in export.roles_since],
        ways_in=[
            Opener(kind=one.kind, name=one.name, since=one.since, last_used_at=one.last_used_at)
            for one in export.ways_in
        ],
        sessions=[
            UsedSession(
                id=session.id,
                account_type=session.account_type.value,
                user_agent=session.user_agent,
                client_address=session.client_address,
                methods=session.methods,
                started_at=session.started_at,
                last_used_at=session.last_used_at,
                expires_at=session.expires_at,
            )
            for session in export.sessions
        ],
    )
