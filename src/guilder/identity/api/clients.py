"""Machine clients as others see them, and how they are refused (RFC 6749 has words of its own)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from guilder.kernel.errors import Conflict, Family, NotFound, Refusal, Unauthenticated
from guilder.kernel.ids import UserId


class ClientNotFound(NotFound):
    """There is no such machine client, or it is somebody else's."""

    message = "There is no such machine client."


class TooManyClients(Conflict):
    """The user has as many machine clients as one may have."""

    code = "TOO_MANY_CLIENTS"
    message = "You have as many machine clients as one may have; delete one first."


class InvalidClient(Unauthenticated):
    """No such machine client, another secret, or a client that may do nothing just now."""

    error: ClassVar[str] = "invalid_client"
    code = "INVALID_CLIENT"
    message = "The client is unknown or its secret is wrong."


class InvalidTokenRequest(Refusal):
    """The request to an OAuth endpoint cannot be read, or lacks a parameter."""

    error: ClassVar[str] = "invalid_request"
    code = "INVALID_TOKEN_REQUEST"
    family = Family.INVALID
    message = "The request is not one that this endpoint understands."


class InvalidScope(Refusal):
    """A scope was asked for that the client does not have."""

    error: ClassVar[str] = "invalid_scope"
    code = "INVALID_SCOPE"
    family = Family.INVALID
    message = "The client does not have one of these scopes."


class UnsupportedGrantType(Refusal):
    """Only client credentials are exchanged for tokens here."""

    error: ClassVar[str] = "unsupported_grant_type"
    code = "UNSUPPORTED_GRANT_TYPE"
    family = Family.INVALID
    message = "The only grant type is client_credentials."


class TokenOfAnother(Refusal):
    """The token to be revoked is not one of the client's."""

    error: ClassVar[str] = "unauthorized_client"
    code = "TOKEN_OF_ANOTHER_CLIENT"
    family = Family.INVALID
    message = "The token was not given to this client."


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientView:
    """A machine client. ``owner_id`` is the user in whose name it acts; None: in its own."""

    id: UserId
    owner_id: UserId | None
    name: str
    scopes: tuple[str, ...]
    made_at: datetime
    rotated_at: datetime
    previous_secret_until: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientWithSecret:
    """A client and its new secret, which is nowhere else from now on."""

    client: ClientView
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCredentials:
    """What a client shows of itself."""

    id: UserId
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientToken:
    """An access token of a client and what it grants."""

    token: str = field(repr=False)
    expires_in_s: int
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Introspected:
    """What a token says that is good just now. Times are Unix seconds (RFC 7662)."""

    subject: UserId
    client_id: UserId | None
    scopes: tuple[str, ...]
    account_type: str
    issuer: str
    audience: str
    token_id: str
    issued_at: int
    expires_at: int
