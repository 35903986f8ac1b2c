"""Requests that are refused because of who sent them are handed on; all others are not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx2
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from guilder.identity.api.second_factors import InvalidOtp, TooManyCodes
from guilder.kernel.errors import NotFound, NotPermitted, Refusal, Unauthenticated
from guilder.kernel.ids import UserId
from guilder.platform.denials import Denial
from guilder.platform.http.asgi import HttpApp
from guilder.platform.http.dispatcher import Dispatcher
from guilder.platform.http.forwarded import TrustedProxies
from guilder.platform.http.metrics import RequestMetrics
from guilder.platform.http.route import Access, Answer, RefusedAnswer, Request, Route
from guilder.platform.identifiers import new_id
from tests.support.shop import ANNA, BEN, Tokens

ANNAS_ID = UserId(new_id())


@dataclass
class Notes:
    """Denials as they were noted."""

    noted: list[Denial] = field(default_factory=list)

    def note(self, denial: Denial) -> None:
        self.noted.append(denial)


async def greet(request: Request) -> Answer:
    return Answer(data="hello")


async def refuse(request: Request) -> Answer:
    refusals: dict[str, Refusal] = {
        "403": NotPermitted(),
        "404": NotFound(),
        "not-yours": NotFound.of_another(),
        "401": Unauthenticated(claimed="anna@example.com"),
        "wrong-password": Unauthenticated(claimed="anna@example.com", claimed_id=ANNAS_ID),
        "400": InvalidOtp(),
        "429": TooManyCodes(retry_after_s=30),
    }
    raise refusals[request.params["how"]]


async def answer_refused(request: Request) -> RefusedAnswer:
    return RefusedAnswer(refusal=NotPermitted())


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest_asyncio.fixture
async def http(notes: Notes) -> AsyncIterator[httpx2.AsyncClient]:
    def route(path: str, handler: object, access: str | Access) -> Route:
        return Route(
            method="GET", path=path, handler=handler, access=access, summary="Try", tag="Door"
        )

    dispatcher = Dispatcher(
        {
            "door": (
                route("/wallets/{wallet_id}", greet, "wallets:read"),
                route("/refused/{how}", refuse, Access.PUBLIC),
                route("/answered", answer_refused, Access.ANY_CALLER),
            )
        },
        verifier=Tokens(),
        metrics=RequestMetrics(CollectorRegistry()),
        denials=notes,
    )
    transport = httpx2.ASGITransport(
        HttpApp(dispatcher.respond, proxies=TrustedProxies()), client=("203.0.113.9", 4711)
    )
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://guilder.test/api/v1"
    ) as client:
        yield client


def as_(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "X-Request-ID": "request-1"}


async def test_a_caller_without_the_permission_is_noted_with_who_and_where(
    http: httpx2.AsyncClient, notes: Notes
):
    answer = await http.get(
        "/wallets/0193", headers={**as_(BEN), "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
    )

    (denial,) = notes.noted
    assert answer.status_code == 403
    assert (denial.code, denial.method) == ("FORBIDDEN", "GET")
    assert denial.route == "/api/v1/wallets/{wallet_id}"
    assert denial.origin.actor_id is not None
    assert denial.person_id == denial.origin.actor_id
    assert (denial.origin.request_id, denial.origin.trace_id) == ("request-1", "ab" * 16)
    assert denial.client_address == "203.0.113.9"


@pytest.mark.parametrize("headers", [{}, as_("a token of nobody")])
async def test_a_request_from_nobody_known_is_noted_without_an_actor(
    http: httpx2.AsyncClient, notes: Notes, headers: dict[str, str]
):
    answer = await http.get("/wallets/0193", headers=headers)

    (denial,) = notes.noted
    assert answer.status_code == 401
    assert denial.code == "UNAUTHORIZED"
    assert (denial.origin.actor_id, denial.person_id) == (None, None)


async def test_a_refusal_that_a_handler_raises_or_answers_is_noted_once(
    http: httpx2.AsyncClient, notes: Notes
):
    await http.get("/refused/403", headers=as_(ANNA))
    await http.get("/answered", headers=as_(ANNA))

    assert [denial.route for denial in notes.noted] == [
        "/api/v1/refused/{how}",
        "/api/v1/answered",
    ]


async def test_whom_a_failed_sign_in_named_is_noted_and_not_answered(
    http: httpx2.AsyncClient, notes: Notes
):
    answer = await http.get("/refused/401")

    assert notes.noted[0].claimed == "anna@example.com"
    assert "anna" not in answer.text


async def test_whose_name_a_failed_sign_in_tried_is_noted_and_not_answered(
    http: httpx2.AsyncClient, notes: Notes
):
    same = {"X-Request-ID": "request-1"}
    known = await http.get("/refused/wrong-password", headers=same)
    unknown = await http.get("/refused/401", headers=same)

    assert [denial.person_id for denial in notes.noted] == [ANNAS_ID, None]
    assert known.content == unknown.content


@pytest.mark.parametrize(
    ("path", "status"), [("/wallets/0193", 200), ("/refused/404", 404), ("/nowhere", 404)]
)
async def test_what_is_granted_or_not_there_is_not_noted(
    http: httpx2.AsyncClient, notes: Notes, path: str, status: int
):
    answer = await http.get(path, headers=as_(ANNA))

    assert answer.status_code == status
    assert notes.noted == []


@pytest.mark.parametrize(("how", "code"), [("400", "INVALID_OTP"), ("429", "TOO_MANY_CODES")])
async def test_a_wrong_code_is_noted_whatever_its_family(
    http: httpx2.AsyncClient, notes: Notes, how: str, code: str
):
    answer = await http.get(f"/refused/{how}")

    (denial,) = notes.noted
    assert answer.status_code == int(how)
    assert denial.code == code


async def test_what_is_somebody_elses_is_noted_and_answered_as_if_it_were_not_there(
    http: httpx2.AsyncClient, notes: Notes
):
    theirs = await http.get("/refused/not-yours", headers=as_(ANNA))
    nowhere = await http.get("/refused/404", headers=as_(ANNA))

    (denial,) = notes.noted
    assert (theirs.status_code, theirs.content) == (404, nowhere.content)
    assert (denial.code, denial.route) == ("NOT_FOUND", "/api/v1/refused/{how}")
