"""Routes that every server has for whoever runs it: liveness, readiness, metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from hmac import compare_digest
from typing import Final, Literal

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from guilder.kernel.errors import Family, Refusal, Unauthenticated
from guilder.platform.http.route import Access, Answer, Handler, RawAnswer, Request, Route

Readiness = Callable[[], Awaitable[Mapping[str, bool]]]
"""Asks every part that has to work, by name; each says whether it does."""

_TAG: Final = "health"


class Liveness(msgspec.Struct, frozen=True):
    """The process answers."""

    status: Literal["live"] = "live"


class ReadinessReport(msgspec.Struct, frozen=True):
    """Requests can be served: every part works."""

    checks: dict[str, bool]
    status: Literal["ready"] = "ready"


class NotReady(Refusal):
    """A part that requests need does not work; ``details["checks"]`` says which."""

    code = "NOT_READY"
    family = Family.UNAVAILABLE
    message = "The service is not ready to serve requests."


def health_routes(
    readiness: Readiness, *, registry: CollectorRegistry, metrics_token: str | None
) -> tuple[Route, ...]:
    """Liveness and readiness for anyone; metrics for whoever has the token, if there is one."""

    async def live(_: Request) -> Answer:
        """The process answers. It says nothing about the database."""
        return Answer(data=Liveness())

    async def ready(_: Request) -> Answer:
        """200 when requests can be served; 503 with the part that is missing otherwise."""
        checks = dict(await readiness())
        if not all(checks.values()):
            raise NotReady(None, checks=checks)
        return Answer(data=ReadinessReport(checks=checks))

    async def metrics(request: Request) -> RawAnswer:
        """All metrics of this process as Prometheus reads them."""
        sent = request.headers.get("authorization", "")
        if not compare_digest(sent.encode(), f"Bearer {metrics_token}".encode()):
            raise Unauthenticated
        return RawAnswer(body=generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    routes = (
        _route("/health/live", live, "Is the process alive?", Liveness),
        _route("/health/ready", ready, "Can requests be served?", ReadinessReport, NotReady),
    )
    if metrics_token:
        return (*routes, _route("/metrics", metrics, "Metrics for Prometheus", None, listed=False))
    return routes


def _route(
    path: str,
    handler: Handler,
    summary: str,
    answers: type[msgspec.Struct] | None,
    *raises: type[Refusal],
    listed: bool = True,
) -> Route:
    return Route(
        method="GET",
        path=path,
        handler=handler,
        access=Access.PUBLIC,
        summary=summary,
        tag=_TAG,
        answers=answers,
        raises=raises,
        at_root=True,
        listed=listed,
    )
