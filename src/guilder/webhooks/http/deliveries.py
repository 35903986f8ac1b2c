"""Routes of the delivery log: reading it, and sending again what is in it."""

from __future__ import annotations

from guilder.kernel.errors import NotPermitted, ValidationFailed
from guilder.platform.http.pages import Position
from guilder.platform.http.route import Answer, Request, Route
from guilder.webhooks.api import (
    DeliveryNotFound,
    EndpointIsDisabled,
    EndpointNotFound,
    RangeTooLarge,
    StillPending,
    TooManyReplays,
)
from guilder.webhooks.http.bodies import (
    TAG,
    Begun,
    DeliveriesQuery,
    DeliveryBody,
    Replayed,
    ReplayRange,
    delivery_body,
    delivery_id_of,
    endpoint_id_of,
    visible_owner,
)
from guilder.webhooks.service.replays import DeliveryLog


class DeliveryRoutes:
    """The handlers behind the routes."""

    def __init__(self, log: DeliveryLog) -> None:
        self._log = log

    async def deliveries(self, request: Request) -> Answer:
        """Newest first, each with its last ten attempts and the beginning of what was answered."""
        query: DeliveriesQuery = request.query
        endpoint_id = endpoint_id_of(request)
        filters = {"list": "deliveries", "endpoint": endpoint_id, "state": query.state}
        before = query.position(Position, filters=filters, otherwise=None)
        found = await self._log.list_deliveries(
            visible_owner(request),
            endpoint_id=endpoint_id,
            before=before,
            state=query.state,
            limit=query.asked,
        )
        return query.answer(
            found,
            filters=filters,
            position=lambda delivery: delivery.position,
            body=delivery_body,
        )

    async def delivery(self, request: Request) -> Answer:
        """With its last hundred attempts, and the answers to the last ten, up to 64 kB of each."""
        found = await self._log.view(visible_owner(request), delivery_id=delivery_id_of(request))
        return Answer(data=delivery_body(found))

    async def replay(self, request: Request) -> Answer:
        """It keeps its webhook-id, and goes behind what is waiting for the same key.

        One that would be tried again later is tried now.
        """
        delivery_id = delivery_id_of(request)
        await self._log.replay(request.user.actor_id, delivery_id=delivery_id)
        return Answer(data=Begun(delivery_id=delivery_id))

    async def replay_range(self, request: Request) -> Answer:
        """Also what was skipped while disabled. At most 10,000 at once, and 50,000 on a day."""
        body: ReplayRange = request.body
        if body.until <= body.since:
            raise ValidationFailed(None, fields={"until": "must be later than since"})
        count = await self._log.replay_range(
            request.user.actor_id,
            endpoint_id=endpoint_id_of(request),
            since=body.since,
            until=body.until,
        )
        return Answer(data=Replayed(replayed=count))

    def routes(self) -> tuple[Route, ...]:
        """The delivery log, and sending again what is in it."""
        return (
            Route(
                method="GET",
                path="/webhooks/{endpoint_id}/deliveries",
                handler=self.deliveries,
                access=("webhooks:read", "webhooks:read_any"),
                summary="What was sent to a webhook endpoint, newest first",
                tag=TAG,
                query=DeliveriesQuery,
                answers=DeliveryBody,
                is_list=True,
                raises=(EndpointNotFound, NotPermitted),
            ),
            Route(
                method="GET",
                path="/webhooks/deliveries/{delivery_id}",
                handler=self.delivery,
                access=("webhooks:read", "webhooks:read_any"),
                summary="Look at a delivery and its attempts",
                tag=TAG,
                answers=DeliveryBody,
                raises=(DeliveryNotFound, NotPermitted),
            ),
            Route(
                method="POST",
                path="/webhooks/deliveries/{delivery_id}/replay",
                handler=self.replay,
                access="webhooks:write",
                summary="Send a delivery again",
                tag=TAG,
                answers=Begun,
                status=202,
                raises=(DeliveryNotFound, StillPending, EndpointIsDisabled, TooManyReplays),
            ),
            Route(
                method="POST",
                path="/webhooks/{endpoint_id}/replay",
                handler=self.replay_range,
                access="webhooks:write",
                summary="Send again everything from a time range",
                tag=TAG,
                body=ReplayRange,
                answers=Replayed,
                status=202,
                raises=(EndpointNotFound, EndpointIsDisabled, RangeTooLarge, TooManyReplays),
                example={"since": "2026-11-20T00:00:00Z", "until": "2026-11-21T00:00:00Z"},
            ),
        )
