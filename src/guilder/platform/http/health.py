"""Routes that every server has for whoever runs it: liveness, readiness, metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from hmac import compare_digest
from typing import Final, Literal

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from guilder.kernel.errors import Unauthenticated
from guilder.platform.http.route import Access, Answer, RawAnswer, Request, Route

Readiness = Callable[[], Awaitable[Mapping[str, bool]]]
"""Asks every part that has to work, by name; each says whether it does."""

_TAG: Final = "health"


class Liveness(msgspec.Struct, frozen=True):
    """The process answers."""

    status: Literal["live"] = "live"


class ReadinessReport(msgspec.Struct, frozen=True):
    """Whether requests can be served, and which part is missing if not."""

    status: Literal["ready", "not_ready"]
    checks: dict[str, bool]


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
        ok = all(checks.values())
        report = ReadinessReport(status="ready" if ok else "not_ready", checks=checks)
        return Answer(data=report, status=200 if ok else 503)

    async def metrics(request: Request) -> RawAnswer:
        """All metrics of this process as Prometheus reads them."""
        sent = request.headers.get("authorization", "")
        if not compare_digest(sent.encode(), f"Bearer {metrics_token}".encode()):
            raise Unauthenticated
        return RawAnswer(body=generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    routes = (
        _route("/health/live", live, "Is the process alive?", Liveness),
        _route("/health/ready", ready, "Can requests be served?", ReadinessReport),
    )
    if metrics_token:
        return (*routes, _route("/metrics", metrics, "Metrics for Prometheus", None, listed=False))
    return routes


def _route(
    path: str,
    handler: Callable[[Request], Awaitable[Answer]] | Callable[[Request], Awaitable[RawAnswer]],
    summary: str,
    answers: type[msgspec.Struct] | None,
    *,
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
        at_root=True,
        listed=listed,
    )
