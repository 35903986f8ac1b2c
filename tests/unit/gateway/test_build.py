"""What stops the gateway from being put together wrongly."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from guilder.gateway.module import GatewaySettings, build
from guilder.kernel.invariant import InvariantViolation
from guilder.platform.http.asgi import HttpApp
from guilder.platform.module import Module
from tests.support.shop import Shop, Tokens


def _build(*modules: Module, settings: GatewaySettings | None = None) -> HttpApp:
    return build(
        modules=modules,
        verifier=Tokens(),
        readiness=Shop().ready,
        registry=CollectorRegistry(),
        settings=settings or GatewaySettings(),
    )


def test_two_contexts_with_one_route_stop_the_start() -> None:
    copy = Module(name="copy", service_names=(), routes=Shop().routes()[:1])

    with pytest.raises(InvariantViolation, match="POST /transactions/transfer is declared once"):
        _build(Shop().module(), copy)


def test_an_upstream_that_is_no_context_stops_the_start() -> None:
    with pytest.raises(InvariantViolation, match="nobody"):
        _build(Shop().module(), settings=GatewaySettings(upstreams={"nobody": "http://x"}))


def test_a_rate_that_cannot_be_read_stops_the_start() -> None:
    with pytest.raises(ValueError, match="couldn't parse"):
        _build(Shop().module(), settings=GatewaySettings(rate_limit="often"))
