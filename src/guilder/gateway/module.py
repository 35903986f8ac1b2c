"""Wires the gateway: from the contexts' modules to one ASGI application.

In one process (``guilder up``)::

    app = gateway.build(
        modules=[identity, wallets, payments, ledger],
        verifier=token_verifier,
        readiness=ready,
        registry=registry,
        settings=GatewaySettings(rate_limit="100/minute"),
        lifespan=started,
    )
    uvicorn.Config(app, proxy_headers=False, server_header=False, access_log=False, …)

``modules`` are all modules, also of contexts that run elsewhere: ``settings.upstreams`` names
those (``{"wallets": "http://wallets:8080"}``), and then only their declarations are used, their
handlers never run. Leave such a module's ``on_start`` alone.

One context alone (``guilder serve identity``)::

    app = gateway.build_service(modules=[identity], …)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

import guilder
from guilder.gateway.admission import LOCAL_HOSTS, Hosts, Origins, RateLimit
from guilder.gateway.documentation import documentation_routes
from guilder.gateway.proxy import Upstreams
from guilder.gateway.service import OWN, Gateway
from guilder.gateway.shared_limiter import limiter_of
from guilder.kernel.invariant import invariant
from guilder.platform.denials import Denials
from guilder.platform.http.asgi import HttpApp, Lifespan
from guilder.platform.http.dispatcher import Dispatcher, TokenVerifier
from guilder.platform.http.forwarded import TrustedProxies
from guilder.platform.http.health import Readiness, health_routes
from guilder.platform.http.metrics import RequestMetrics
from guilder.platform.http.openapi import openapi_document
from guilder.platform.http.route import Route
from guilder.platform.module import Module


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """What an operator may decide about the entrance."""

    allowed_hosts: tuple[str, ...] = ()
    """Names besides localhost under which the server is addressed; ``*`` is any."""
    allowed_origins: tuple[str, ...] = ()
    """Sites whose pages may call the API (CORS): ``https://app.example``."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks whose X-Forwarded-For is believed."""
    rate_limit: str = "100/minute"
    """Per user, or per address without a good token; ``off`` is none."""
    redis_url: str | None = None
    """Where several processes count together; None counts in each process."""
    metrics_token: str | None = None
    """The bearer token of ``/metrics``; None: there is no such path."""
    upstreams: Mapping[str, str] = field(default_factory=dict)
    """Contexts that run elsewhere, by module name."""


def build(
    *,
    modules: Iterable[Module],
    verifier: TokenVerifier,
    readiness: Readiness,
    registry: CollectorRegistry,
    settings: GatewaySettings,
    lifespan: Lifespan | None = None,
    denials: Denials | None = None,
) -> HttpApp:
    """The whole API as one ASGI application.

    ``lifespan`` is a context manager's function: what it starts is there before the first request.
    ``denials`` takes note of requests that are refused because of who sent them.

    Raises:
        InvariantViolation: two routes collide, or an upstream is no module.
        ValueError: a setting cannot be read.
    """
    dispatcher = _dispatcher(
        modules,
        verifier=verifier,
        readiness=readiness,
        registry=registry,
        settings=settings,
        documented=True,
        denials=denials,
    )
    limiter = limiter_of(settings.rate_limit, redis_url=settings.redis_url)
    upstreams = Upstreams(settings.upstreams)
    gateway = Gateway(
        dispatcher,
        upstreams=upstreams,
        hosts=Hosts((*LOCAL_HOSTS, *settings.allowed_hosts)),
        origins=Origins(settings.allowed_origins),
        rate_limit=None if limiter is None else RateLimit(limiter, dispatcher=dispatcher),
    )

    @asynccontextmanager
    async def whole_life() -> AsyncIterator[None]:
        async with nullcontext() if lifespan is None else lifespan():
            try:
                yield
            finally:
                await upstreams.close()
                if limiter is not None:
                    await limiter.close()

    proxies = TrustedProxies(settings.trusted_proxies)
    return HttpApp(gateway.respond, proxies=proxies, lifespan=whole_life)


def build_service(
    *,
    modules: Iterable[Module],
    verifier: TokenVerifier,
    readiness: Readiness,
    registry: CollectorRegistry,
    settings: GatewaySettings,
    lifespan: Lifespan | None = None,
    denials: Denials | None = None,
) -> HttpApp:
    """Some contexts alone, to stand behind a gateway: no rate limit, no CORS, no host check.

    Raises:
        InvariantViolation: two routes collide.
    """
    dispatcher = _dispatcher(
        modules,
        verifier=verifier,
        readiness=readiness,
        registry=registry,
        settings=settings,
        documented=False,
        denials=denials,
    )
    proxies = TrustedProxies(settings.trusted_proxies)
    return HttpApp(dispatcher.respond, proxies=proxies, lifespan=lifespan)


def _dispatcher(
    modules: Iterable[Module],
    *,
    verifier: TokenVerifier,
    readiness: Readiness,
    registry: CollectorRegistry,
    settings: GatewaySettings,
    documented: bool,
    denials: Denials | None,
) -> Dispatcher:
    listed = tuple(modules)
    unknown = set(settings.upstreams) - {module.name for module in listed}
    invariant(not unknown, f"upstreams are modules, not {sorted(unknown)}")
    routes: dict[str, tuple[Route, ...]] = {module.name: module.routes for module in listed}
    own = health_routes(readiness, registry=registry, metrics_token=settings.metrics_token)
    if documented:
        every = (*own, *(route for module in listed for route in module.routes))
        own += documentation_routes(openapi_document(every, version=guilder.__version__))
    return Dispatcher(
        {**routes, OWN: own},
        verifier=verifier,
        metrics=RequestMetrics(registry),
        service_names=[name for module in listed for name in module.service_names],
        denials=denials,
    )
