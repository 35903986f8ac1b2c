"""Who is let in to a route: whoever has one of its permissions; where there is none, people."""

from __future__ import annotations

import dataclasses
from typing import Any

import httpx2
import msgspec
import pytest
from prometheus_client import CollectorRegistry

from guilder.kernel.errors import Family, Refusal
from guilder.kernel.ids import UserId
from guilder.platform.http.asgi import HttpApp
from guilder.platform.http.dispatcher import Dispatcher
from guilder.platform.http.forwarded import TrustedProxies
from guilder.platform.http.metrics import RequestMetrics
from guilder.platform.http.openapi import openapi_document
from guilder.platform.http.route import (
    Access,
    Answer,
    AnyAnswer,
    RawAnswer,
    RefusedAnswer,
    Request,
    Route,
)
from guilder.platform.identifiers import new_id
from tests.support.shop import ANNA, BEN, Tokens, caller

MACHINE = "token-of-a-machine"


class NoTea(Refusal):
    """There is only coffee."""

    code = "NO_TEA"
    family = Family.INVALID
    message = "There is no tea."


class Order(msgspec.Struct, kw_only=True):
    drink: str
    sugar: str | None = None


class Served(msgspec.Struct, kw_only=True):
    drink: str


async def let_in(request: Request) -> Answer:
    return Answer(data={"actor": str(request.user.actor_id)})


async def serve(request: Request) -> AnyAnswer:
    if request.body == b"drink=coffee":
        return RawAnswer(body=b'{"drink":"coffee"}', content_type="application/json")
    return RefusedAnswer(
        refusal=NoTea(), body=b'{"error":"no_tea"}', headers=(("X-Instead", "coffee"),)
    )


def route(path: str, access: Any, **more: Any) -> Route:
    return Route(
        method="POST" if "form" in more else "GET",
        path=path,
        handler=serve if "form" in more else let_in,
        access=access,
        summary=path,
        tag="bar",
        **more,
    )


ROUTES = (
    route("/people", Access.ANY_CALLER),
    route("/one", "wallets:read"),
    route("/either", ("wallets:adjust", "wallets:read")),
    route("/form", Access.PUBLIC, form=Order, answers=Served, raises=(NoTea,)),
)


@pytest.fixture
def http() -> httpx2.AsyncClient:
    machine = dataclasses.replace(caller(frozenset({"wallets:read"})), client_id=UserId(new_id()))
    tokens = Tokens()
    tokens.callers[MACHINE] = machine
    dispatcher = Dispatcher(
        {"bar": ROUTES}, verifier=tokens, metrics=RequestMetrics(CollectorRegistry())
    )
    app = HttpApp(dispatcher.respond, proxies=TrustedProxies())
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://bar.test")


@pytest.mark.parametrize(
    ("token", "path", "status"),
    [
        (ANNA, "/people", 200),
        (BEN, "/people", 200),
        (MACHINE, "/people", 403),
        (ANNA, "/one", 200),
        (BEN, "/one", 403),
        (MACHINE, "/one", 200),
        (ANNA, "/either", 200),
        (BEN, "/either", 403),
        (MACHINE, "/either", 200),
        ("nobody's", "/either", 401),
    ],
)
async def test_a_route_lets_in_whom_it_says(
    http: httpx2.AsyncClient, token: str, path: str, status: int
) -> None:
    answer = await http.get(f"/api/v1{path}", headers={"Authorization": f"Bearer {token}"})

    assert answer.status_code == status


async def test_a_form_comes_as_it_was_sent_and_goes_without_an_envelope(
    http: httpx2.AsyncClient,
) -> None:
    answer = await http.post("/api/v1/form", data={"drink": "coffee"})

    assert (answer.status_code, answer.json()) == (200, {"drink": "coffee"})


async def test_a_protocol_refuses_in_its_own_words(http: httpx2.AsyncClient) -> None:
    answer = await http.post("/api/v1/form", data={"drink": "tea"})

    assert (answer.status_code, answer.json()) == (400, {"error": "no_tea"})
    assert answer.headers["x-instead"] == "coffee"


def test_the_document_tells_of_forms_and_of_either_permission() -> None:
    document = openapi_document(ROUTES, version="1")

    form = document["paths"]["/api/v1/form"]["post"]
    content = form["requestBody"]["content"]
    assert list(content) == ["application/x-www-form-urlencoded"]
    answered = form["responses"]["200"]["content"]["application/json"]["schema"]
    assert answered == {"$ref": "#/components/schemas/Served"}
    refused = form["responses"]["400"]["content"]["application/json"]["schema"]
    assert [kind.get("required") for kind in refused["anyOf"]] == [
        None,
        ["error", "error_description"],
    ]
    said = document["paths"]["/api/v1/either"]["get"]["description"]
    assert "`wallets:adjust` or `wallets:read`" in said
