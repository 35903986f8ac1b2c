"""The one table from refusals to HTTP statuses, and the body that every error has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from guilder.kernel.errors import Family, Refusal
from guilder.platform.http.refusals import MethodNotAllowed
from guilder.platform.http.reply import JSON, Reply

STATUS_OF_FAMILY: Final[Mapping[Family, int]] = {
    Family.INVALID: 400,
    Family.UNAUTHENTICATED: 401,
    Family.FORBIDDEN: 403,
    Family.NOT_FOUND: 404,
    Family.CONFLICT: 409,
    Family.GONE: 410,
    Family.PRECONDITION: 412,
    Family.TOO_LARGE: 413,
    Family.UNSUPPORTED: 415,
    Family.TOO_MANY: 429,
    Family.UNAVAILABLE: 503,
}

STATUS_OF_CODE: Final[Mapping[str, int]] = {
    "METHOD_NOT_ALLOWED": 405,
    "REQUEST_TIMEOUT": 408,
    "HEADERS_TOO_LARGE": 431,
}
"""Codes whose status is not their family's."""

INTERNAL_ERROR: Final = "INTERNAL_ERROR"

# Details may hold ids, dates or money; str() is how all of them are written for people.
_encode: Final = msgspec.json.Encoder(enc_hook=str).encode


def status_of(refusal: Refusal | type[Refusal]) -> int:
    """The HTTP status of a refusal, by its code or else its family."""
    return STATUS_OF_CODE.get(refusal.code) or STATUS_OF_FAMILY[refusal.family]


def refusal_reply(refusal: Refusal, *, request_id: str) -> Reply:
    """The answer to a request that was refused."""
    status = status_of(refusal)
    details = {name: value for name, value in refusal.details.items() if value is not None}
    return Reply(
        status=status,
        content_type=JSON,
        body=_error_body(refusal.code, refusal.message, details, request_id),
        headers=_headers(refusal, status),
    )


def bug_reply(*, request_id: str) -> Reply:
    """The answer when Guilder itself is at fault: it says nothing about why."""
    message = "Something went wrong on our side. Quote the request id when you report it."
    body = _error_body(INTERNAL_ERROR, message, {}, request_id)
    return Reply(status=500, content_type=JSON, body=body)


def _error_body(code: str, message: str, details: Mapping[str, Any], request_id: str) -> bytes:
    error: dict[str, Any] = {"code": code, "message": message}
    if details:
        error["details"] = details
    error["request_id"] = request_id
    return _encode({"success": False, "error": error})


def _headers(refusal: Refusal, status: int) -> list[tuple[bytes, bytes]]:
    if isinstance(refusal, MethodNotAllowed):
        return [(b"allow", ", ".join(refusal.allowed).encode("ascii"))]
    if status == 401:
        return [(b"www-authenticate", b"Bearer")]
    if status in {429, 503}:
        wait = refusal.details.get("retry_after_s")
        return [(b"retry-after", b"%d" % (wait if isinstance(wait, int) else 1))]
    return []
