"""Every family of refusals has one status, and every error one shape."""

from __future__ import annotations

import json
from uuid import UUID

import pytest

from guilder.kernel.errors import (
    BadRequest,
    Conflict,
    Family,
    NotFound,
    NotPermitted,
    Overloaded,
    Refusal,
    Unauthenticated,
    ValidationFailed,
)
from guilder.platform.http.refusals import (
    MethodNotAllowed,
    PayloadTooLarge,
    RateLimitExceeded,
    UnsupportedMediaType,
)
from guilder.platform.http.status import (
    STATUS_OF_FAMILY,
    bug_reply,
    refusal_reply,
    status_of,
)


def test_every_family_has_a_status() -> None:
    assert STATUS_OF_FAMILY.keys() == set(Family)


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (BadRequest(), 400),
        (ValidationFailed(), 400),
        (Unauthenticated(), 401),
        (NotPermitted(), 403),
        (NotFound(), 404),
        (MethodNotAllowed(("GET",)), 405),
        (Conflict(), 409),
        (PayloadTooLarge(), 413),
        (UnsupportedMediaType(), 415),
        (RateLimitExceeded(retry_after_s=3), 429),
        (Overloaded(), 503),
    ],
)
def test_a_refusal_has_the_status_of_its_kind(refusal: Refusal, status: int) -> None:
    reply = refusal_reply(refusal, request_id="r")

    assert (reply.status, status_of(type(refusal))) == (status, status)
    assert json.loads(reply.body)["error"]["code"] == refusal.code


def test_details_are_written_for_people_and_what_is_none_is_left_out() -> None:
    refusal = Conflict("Already there.", wallet_id=UUID(int=7), other=None)

    error = json.loads(refusal_reply(refusal, request_id="r-1").body)["error"]

    assert error == {
        "code": "CONFLICT",
        "message": "Already there.",
        "details": {"wallet_id": "00000000-0000-0000-0000-000000000007"},
        "request_id": "r-1",
    }


def test_too_many_and_too_busy_say_when_to_come_back() -> None:
    limited = refusal_reply(RateLimitExceeded(retry_after_s=42), request_id="r")
    busy = refusal_reply(Overloaded(retry_after_s=2), request_id="r")

    assert limited.headers == [(b"retry-after", b"42")]
    assert busy.headers == [(b"retry-after", b"2")]


def test_a_bug_is_told_by_its_request_alone() -> None:
    error = json.loads(bug_reply(request_id="r-1").body)["error"]

    assert error["code"] == "INTERNAL_ERROR"
    assert error["request_id"] == "r-1"
    assert "details" not in error
