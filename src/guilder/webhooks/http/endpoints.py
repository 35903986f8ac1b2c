"""Routes of endpoints, in the hands of their owners."""

from __future__ import annotations

from uuid import UUID

from guilder.kernel.errors import NotPermitted
from guilder.platform.egress import UrlRefused
from guilder.platform.http.pages import Page
from guilder.platform.http.route import Answer, Request, Route
from guilder.webhooks.api import (
    EndpointIsDisabled,
    EndpointNotFound,
    TooManyEndpoints,
    UnknownEvents,
)
from guilder.webhooks.domain.filters import EVERYTHING
from guilder.webhooks.http.bodies import (
    TAG,
    Begun,
    ChangeEndpoint,
    EndpointBody,
    RegisterEndpoint,
    endpoint_body,
    endpoint_id_of,
    visible_owner,
)
from guilder.webhooks.service.registration import BEFORE_ALL, Change, Registration


class EndpointRoutes:
    """The handlers behind the routes."""

    def __init__(self, registration: Registration) -> None:
        self._registration = registration

    async def register(self, request: Request) -> Answer:
        """The answer has the secret that signs what is sent; it is not shown again.

        A machine client's endpoints are its own, and hear what concerns its user.
        """
        body: RegisterEndpoint = request.body
        caller = request.user
        endpoint, secret = await self._registration.register(
            caller.actor_id,
            url=body.url,
            events=body.events or (EVERYTHING,),
            description=body.description or "",
            acts_for=None if caller.actor_id == caller.user_id else caller.user_id,
        )
        return Answer(data=endpoint_body(endpoint, secret=secret))

    async def list(self, request: Request) -> Answer:
        """The caller's endpoints in order of registration."""
        owner_id = request.user.actor_id
        page: Page = request.query
        filters = {"list": "webhooks", "owner": owner_id}
        after = page.position(UUID, filters=filters, otherwise=BEFORE_ALL)
        found = await self._registration.list_endpoints(owner_id, after=after, limit=page.asked)
        return page.answer(
            found, filters=filters, position=lambda endpoint: endpoint.id, body=endpoint_body
        )

    async def one(self, request: Request) -> Answer:
        """One of the caller's endpoints. Staff see anybody's, without the query of its URL."""
        owner_id = visible_owner(request)
        endpoint = await self._registration.view(owner_id, endpoint_id=endpoint_id_of(request))
        return Answer(data=endpoint_body(endpoint, is_own=owner_id is not None))

    async def change(self, request: Request) -> Answer:
        """Enabling an endpoint goes on with what was waiting for it."""
        body: ChangeEndpoint = request.body
        endpoint = await self._registration.change(
            request.user.actor_id,
            endpoint_id=endpoint_id_of(request),
            change=Change(
                url=body.url,
                description=body.description,
                events=None if body.events is None else tuple(body.events),
                enabled=body.enabled,
            ),
        )
        return Answer(data=endpoint_body(endpoint))

    async def delete(self, request: Request) -> Answer:
        """Nothing more is sent to it, and its delivery log goes with it."""
        await self._registration.delete(request.user.actor_id, endpoint_id=endpoint_id_of(request))
        return Answer(data=None)

    async def rotate_secret(self, request: Request) -> Answer:
        """For a day, what is sent carries a signature by each of the two secrets."""
        endpoint, secret = await self._registration.rotate_secret(
            request.user.actor_id, endpoint_id=endpoint_id_of(request)
        )
        return Answer(data=endpoint_body(endpoint, secret=secret))

    async def send_test(self, request: Request) -> Answer:
        """It is a webhook.test event, whatever the endpoint's filters are."""
        delivery_id = await self._registration.send_test(
            request.user.actor_id, endpoint_id=endpoint_id_of(request)
        )
        return Answer(data=Begun(delivery_id=delivery_id))

    def routes(self) -> tuple[Route, ...]:
        """Endpoints, one by one and together."""
        return (*self._registering(), *self._using())

    def _registering(self) -> tuple[Route, ...]:
        return (
            Route(
                method="POST",
                path="/webhooks",
                handler=self.register,
                access="webhooks:write",
                summary="Register a webhook endpoint",
                tag=TAG,
                body=RegisterEndpoint,
                answers=EndpointBody,
                status=201,
                raises=(UrlRefused, UnknownEvents, TooManyEndpoints),
                example={"url": "https://example.com/hooks", "events": ["transaction.*"]},
            ),
            Route(
                method="GET",
                path="/webhooks",
                handler=self.list,
                access="webhooks:read",
                summary="List one's webhook endpoints",
                tag=TAG,
                query=Page,
                answers=EndpointBody,
                is_list=True,
            ),
            Route(
                method="GET",
                path="/webhooks/{endpoint_id}",
                handler=self.one,
                access=("webhooks:read", "webhooks:read_any"),
                summary="Look at a webhook endpoint",
                tag=TAG,
                answers=EndpointBody,
                raises=(EndpointNotFound, NotPermitted),
            ),
            Route(
                method="PATCH",
                path="/webhooks/{endpoint_id}",
                handler=self.change,
                access="webhooks:write",
                summary="Change, enable or disable a webhook endpoint",
                tag=TAG,
                body=ChangeEndpoint,
                answers=EndpointBody,
                raises=(EndpointNotFound, UrlRefused, UnknownEvents),
                example={"enabled": True},
            ),
        )

    def _using(self) -> tuple[Route, ...]:
        return (
            Route(
                method="DELETE",
                path="/webhooks/{endpoint_id}",
                handler=self.delete,
                access="webhooks:write",
                summary="Delete a webhook endpoint",
                tag=TAG,
                status=204,
                raises=(EndpointNotFound,),
            ),
            Route(
                method="POST",
                path="/webhooks/{endpoint_id}/rotate-secret",
                handler=self.rotate_secret,
                access="webhooks:write",
                summary="Give a webhook endpoint a new secret",
                tag=TAG,
                answers=EndpointBody,
                raises=(EndpointNotFound,),
            ),
            Route(
                method="POST",
                path="/webhooks/{endpoint_id}/test",
                handler=self.send_test,
                access="webhooks:write",
                summary="Send a test event",
                tag=TAG,
                answers=Begun,
                status=202,
                raises=(EndpointNotFound, EndpointIsDisabled),
            ),
        )
