"""Refusals that only HTTP knows: they say that a request cannot be read, routed or admitted."""

from __future__ import annotations

from guilder.kernel.errors import BadRequest, Family, Refusal


class MethodNotAllowed(Refusal):
    """The path exists, the method does not. ``allowed`` goes into the Allow header."""

    code = "METHOD_NOT_ALLOWED"
    family = Family.UNSUPPORTED
    message = "This resource does not have that method."

    def __init__(self, allowed: tuple[str, ...], /) -> None:
        super().__init__(None)
        self.allowed = allowed


class PayloadTooLarge(Refusal):
    """The body is longer than the route accepts."""

    code = "PAYLOAD_TOO_LARGE"
    family = Family.TOO_LARGE
    message = "The request body is too large."


class HeadTooLarge(Refusal):
    """The request has too many headers, or too long ones; what follows a body counts as well."""

    code = "HEADERS_TOO_LARGE"
    family = Family.TOO_LARGE
    message = "The request has too many headers, or headers that are too long."


class RequestTimeout(Refusal):
    """The request came too slowly, or only a part of it came."""

    code = "REQUEST_TIMEOUT"
    family = Family.INVALID
    message = "The request did not arrive in time."


class UnsupportedMediaType(Refusal):
    """The body is not of the type that the route reads."""

    code = "UNSUPPORTED_MEDIA_TYPE"
    family = Family.UNSUPPORTED
    message = "The request body must be application/json in UTF-8."


class RateLimitExceeded(Refusal):
    """Too many requests from this caller or address; ``details["retry_after_s"]`` says when."""

    code = "RATE_LIMIT_EXCEEDED"
    family = Family.TOO_MANY
    message = "Too many requests; slow down."

    def __init__(self, *, retry_after_s: int) -> None:
        super().__init__(None, retry_after_s=retry_after_s)


class ProviderUnavailable(Refusal):
    """A service behind this one cannot be reached; nothing is known to have happened there."""

    code = "PROVIDER_UNAVAILABLE"
    family = Family.UNAVAILABLE
    message = "A service that this request needs is not available."


class HostNotAllowed(BadRequest):
    """The Host header names a site that this server does not serve."""

    message = "The Host header is missing or names another site."


class ClientGone(Exception):
    """The client closed the connection before its request was complete; nobody can be answered."""
