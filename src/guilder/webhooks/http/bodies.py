"""What the routes of webhooks take and give, and whose endpoints a caller may look at."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final
from urllib.parse import urlsplit
from uuid import UUID

from msgspec import Meta, Struct

from guilder.kernel.errors import NotPermitted
from guilder.kernel.ids import UserId
from guilder.platform.egress import MOST_URL
from guilder.platform.http.fields import Label, Moment
from guilder.platform.http.pages import Page
from guilder.platform.http.route import Request
from guilder.webhooks.api import DeliveryId, DeliveryState, EndpointId, EndpointStatus
from guilder.webhooks.domain.catalogue import PREFIX
from guilder.webhooks.domain.records import AttemptRecord, Delivery, Endpoint

TAG: Final = "Webhooks"

Url = Annotated[str, Meta(min_length=1, max_length=MOST_URL)]
Filter = Annotated[str, Meta(min_length=1, max_length=100)]
Filters = Annotated[list[Filter], Meta(min_length=1, max_length=50)]


class RegisterEndpoint(Struct, forbid_unknown_fields=True, kw_only=True):
    """An address to be called. Without ``events`` it hears all of its owner's."""

    url: Url
    events: Filters | None = None
    description: Label | None = None


class ChangeEndpoint(Struct, forbid_unknown_fields=True, kw_only=True):
    """What to change; what is left out stays."""

    url: Url | None = None
    events: Filters | None = None
    description: Label | None = None
    enabled: bool | None = None


class EndpointBody(Struct, kw_only=True, omit_defaults=True):
    """An endpoint. Its ``secret`` is shown when it is made, and never again.

    ``user_id`` is whose it is, or whom the machine client ``client_id`` acts for.
    """

    id: EndpointId
    user_id: UserId
    url: str
    description: str
    events: tuple[str, ...]
    enabled: bool
    disabled_reason: str | None
    failing_since: datetime | None
    created_at: datetime
    updated_at: datetime
    client_id: UserId | None = None
    secret: str | None = None
    previous_secret_valid_until: datetime | None = None


class DeliveriesQuery(Page, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Which deliveries: all, or those in one state."""

    state: DeliveryState | None = None


class AttemptBody(Struct, kw_only=True):
    """One request and what came back: a status, or else the failure in a word."""

    number: int
    started_at: datetime
    duration_ms: int
    status: int | None
    failure: str | None
    response_headers: dict[str, str]
    response_body: str
    response_body_cut: bool


class DeliveryBody(Struct, kw_only=True):
    """A delivery and its last attempts, of ``attempts_made`` in all.

    ``id`` is the webhook-id that the receiver sees.
    """

    id: DeliveryId
    endpoint_id: EndpointId
    event_id: UUID
    event: str
    key: str
    state: str
    next_attempt_at: datetime | None
    created_at: datetime
    ended_at: datetime | None
    attempts_made: int
    attempts: list[AttemptBody]


class ReplayRange(Struct, forbid_unknown_fields=True, kw_only=True):
    """Deliveries made from ``since`` to before ``until``."""

    since: Moment
    until: Moment


class Begun(Struct, kw_only=True):
    """What is on its way now."""

    delivery_id: DeliveryId


class Replayed(Struct, kw_only=True):
    """How many deliveries are sent again."""

    replayed: int


def visible_owner(request: Request) -> UserId | None:
    """Whose endpoints the caller may look at: their own, or None for anybody's.

    Raises:
        NotPermitted: nobody's.
    """
    if request.user.may("webhooks:read_any"):
        return None
    if request.user.may("webhooks:read"):
        return request.user.actor_id
    raise NotPermitted


def endpoint_id_of(request: Request) -> EndpointId:
    """The endpoint in the path."""
    return EndpointId(request.id("endpoint_id"))


def delivery_id_of(request: Request) -> DeliveryId:
    """The delivery in the path."""
    return DeliveryId(request.id("delivery_id"))


def endpoint_body(
    endpoint: Endpoint, *, secret: str | None = None, is_own: bool = True
) -> EndpointBody:
    """An endpoint as it is answered; its URL's query only to its owner, as it may hold a token."""
    url = endpoint.url if is_own else urlsplit(endpoint.url)._replace(query="").geturl()
    return EndpointBody(
        id=endpoint.id,
        user_id=endpoint.acts_for or endpoint.owner_id,
        client_id=None if endpoint.acts_for is None else endpoint.owner_id,
        url=url,
        description=endpoint.description,
        events=endpoint.events,
        enabled=endpoint.status is EndpointStatus.ENABLED,
        disabled_reason=endpoint.disabled_reason,
        failing_since=endpoint.failing_since,
        created_at=endpoint.created_at,
        updated_at=endpoint.changed_at,
        secret=secret,
        previous_secret_valid_until=endpoint.previous_until if secret else None,
    )


def delivery_body(delivery: Delivery) -> DeliveryBody:
    """A delivery as it is answered."""
    return DeliveryBody(
        id=delivery.id,
        endpoint_id=delivery.endpoint_id,
        event_id=delivery.event_id,
        event=delivery.type.removeprefix(PREFIX),
        key=delivery.key,
        state=delivery.state.value,
        next_attempt_at=delivery.due_at,
        created_at=delivery.created_at,
        ended_at=delivery.ended_at,
        attempts_made=delivery.attempts,
        attempts=[_attempt(attempt) for attempt in delivery.log],
    )


def _attempt(attempt: AttemptRecord) -> AttemptBody:
    headers: dict[str, str] = {}
    for name, text in attempt.headers:
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return AttemptBody(
        number=attempt.number,
        started_at=attempt.started_at,
        duration_ms=attempt.duration_ms,
        status=attempt.status,
        failure=attempt.failure,
        response_headers=headers,
        response_body=attempt.body,
        response_body_cut=attempt.is_cut,
    )
