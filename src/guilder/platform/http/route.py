"""A route is data: who may call it, what it reads, what it answers, and the function that does it.

The dispatcher, the gateway's table, the OpenAPI document and the permission checks are all made
from these declarations, so nothing about a route is typed twice.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, TypeAlias
from uuid import UUID

import msgspec

from guilder.kernel.errors import NotFound, Refusal, Unauthenticated
from guilder.kernel.invariant import invariant
from guilder.platform.auth import Caller
from guilder.platform.identifiers import read_id


class Access(Enum):
    """Who may call a route when no named permission guards it."""

    PUBLIC = "public"
    """Anyone, with or without a token."""
    ANY_CALLER = "any caller"
    """Whoever has a valid access token, unless it is a machine client's.

    What is open to people without a permission (their sessions, their password) is not for what
    they lent some permissions to.
    """


@dataclass(slots=True, kw_only=True)
class Request:
    """One parsed request: what a handler may know of it.

    ``body`` and ``query`` are instances of the route's declared structs (None when it declares
    none). ``header`` names are lower case. ``idempotency_key`` is the caller's key where the route
    moves money, or one that was made for this request; "" on every other route.
    """

    method: str
    path: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    request_id: str
    client_address: str
    body: Any = None
    query: Any = None
    caller: Caller | None = None
    idempotency_key: str = ""

    @property
    def user(self) -> Caller:
        """The caller.

        Raises:
            Unauthenticated: nobody; only a route with `Access.PUBLIC` can see that.
        """
        if self.caller is None:
            raise Unauthenticated
        return self.caller

    def id(self, name: str) -> UUID:
        """The path parameter ``name`` as an id.

        Raises:
            NotFound: it is no UUID in its usual hyphenated form, so nothing has it.
        """
        try:
            return read_id(self.params[name])
        except ValueError:
            raise NotFound from None


@dataclass(slots=True, kw_only=True)
class Answer:
    """What a handler gives back. ``data`` goes into the envelope; a list may add ``meta``."""

    data: Any
    status: int | None = None
    """None: the route's declared status."""
    meta: Mapping[str, Any] | None = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True, kw_only=True)
class RawAnswer:
    """An answer outside the envelope (JWKS, CSV, HTML). Its body is sent as it is."""

    body: bytes
    content_type: str
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True, kw_only=True)
class StreamAnswer:
    """An answer outside the envelope whose body is sent piece by piece (a long CSV, events).

    ``chunks`` is closed when the client leaves.
    """

    chunks: AsyncGenerator[bytes, None]
    content_type: str
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True, kw_only=True)
class RefusedAnswer:
    """A refusal with headers, or a JSON body, of its own. Else a handler simply raises it."""

    refusal: Refusal
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    """Where a protocol has errors of its own: this body and these headers, not the usual ones."""


AnyAnswer: TypeAlias = Answer | RawAnswer | StreamAnswer | RefusedAnswer
Handler: TypeAlias = Callable[[Request], Awaitable[AnyAnswer]]

MAX_BODY_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method on one path of one context.

    ``path`` starts with a slash and is relative to ``/api/v1`` (``/wallets/{wallet_id}``), or to
    the root when ``at_root``. ``body`` and ``query`` are msgspec structs that forbid unknown
    fields; ``answers`` is the struct of ``data``. ``access`` is a permission (``"wallets:read"``),
    several of which one suffices, or an `Access`. ``raises`` lists the refusals that the route
    itself can answer, for the OpenAPI document. ``summary`` is one line; the handler's docstring
    is the description.
    """

    method: str
    path: str
    handler: Handler
    access: str | tuple[str, ...] | Access
    summary: str
    tag: str
    body: type[msgspec.Struct] | None = None
    query: type[msgspec.Struct] | None = None
    query_is_open: bool = False
    """Parameters that ``query`` does not have are left aside: somebody else's server made them."""
    form: type[msgspec.Struct] | None = None
    """It speaks as OAuth does: instead of JSON a form of these fields comes in, which the handler
    gets as the bytes that were sent, and ``answers`` and refusals go out without an envelope."""
    answers: Any = None
    status: int = 200
    accepted: Any = None
    """The struct of ``data`` of a 202, where the handler may ask for something more first."""
    is_list: bool = False
    moves_money: bool = False
    """It takes an Idempotency-Key."""
    key_means: str = "Names the operation, so that repeating it is safe."
    """What such a key is here, and for how long, for the OpenAPI document."""
    raises: tuple[type[Refusal], ...] = ()
    max_body_bytes: int = MAX_BODY_BYTES
    at_root: bool = False
    listed: bool = True
    """False: an alias that works and is left out of the OpenAPI document."""
    example: Mapping[str, Any] | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        invariant(self.path.startswith("/"), "a route's path starts with a slash")
        invariant(self.method in {"GET", "POST", "PUT", "PATCH", "DELETE"}, "a known method")
        invariant(self.body is None or self.form is None, "a body is JSON or a form")
