"""Routes of webhooks: parse, call one use case, answer."""

from __future__ import annotations

from guilder.platform.http.route import Route
from guilder.webhooks.http.deliveries import DeliveryRoutes
from guilder.webhooks.http.endpoints import EndpointRoutes
from guilder.webhooks.service.registration import Registration
from guilder.webhooks.service.replays import DeliveryLog


def routes(registration: Registration, log: DeliveryLog) -> tuple[Route, ...]:
    """Every route of webhooks."""
    return (*EndpointRoutes(registration).routes(), *DeliveryRoutes(log).routes())
