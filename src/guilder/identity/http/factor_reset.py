"""Routes of staff about second factors."""

from __future__ import annotations

from guilder.identity.api.roles import BeyondOwnPermissions, UserNotFound
from guilder.identity.http.second_factors import Factors, factors_body
from guilder.identity.http.staff import Because
from guilder.identity.service.factor_reset import FactorReset
from guilder.kernel.errors import NotPermitted
from guilder.kernel.ids import UserId
from guilder.platform.http.route import Answer, Request, Route


class FactorResetRoutes:
    """The handler of one use case."""

    def __init__(self, reset: FactorReset) -> None:
        self._reset = reset

    async def reset(self, request: Request) -> Answer:
        """For whoever has lost every factor and recovery code: the password alone signs in again.

        Their sessions end at once. Make sure who is asking first. It may be repeated.
        """
        body: Because = request.body
        left = await self._reset.reset(
            UserId(request.id("id")), reason=body.reason, by=request.user
        )
        return Answer(data=factors_body(left))

    def routes(self) -> tuple[Route, ...]:
        """The route of the reset."""
        return (
            Route(
                method="POST",
                path="/admin/users/{id}/second-factors/reset",
                handler=self.reset,
                access="users:write",
                summary="Take a user's second factors away",
                tag="Staff",
                body=Because,
                answers=Factors,
                raises=(UserNotFound, BeyondOwnPermissions, NotPermitted),
                example={"reason": "Lost the phone; identity checked in the branch."},
            ),
        )
