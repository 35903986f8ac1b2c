"""A route made ready to be served: what can be worked out once is not worked out per request."""

from __future__ import annotations

import asyncio
import re
from typing import Final
from urllib.parse import quote

import msgspec

from guilder.kernel.errors import BadRequest, ValidationFailed
from guilder.kernel.invariant import invariant
from guilder.platform.http.body import parse
from guilder.platform.http.incoming import Incoming
from guilder.platform.http.metrics import Meter
from guilder.platform.http.paths import API_PREFIX
from guilder.platform.http.query import parse_query, refuse_query
from guilder.platform.http.refusals import UnsupportedMediaType
from guilder.platform.http.route import Access, Route
from guilder.platform.identifiers import new_id_text

_PARAMETER: Final = re.compile(r"\{([a-z_]+)\}")
_KEY: Final = re.compile(rb"[\x21-\x7e]{1,255}")
_JSON_TYPE: Final = re.compile(rb'application/json\s*(;\s*charset="?utf-8"?\s*)?', re.IGNORECASE)

_LONG_BYTES: Final = 256 * 1024
"""A body longer than this takes so long to read that others are answered meanwhile."""


class Endpoint:
    """One route of one context (``owner``), with its metrics."""

    __slots__ = (
        "body_is_optional",
        "is_public",
        "meter",
        "names",
        "owner",
        "permissions",
        "route",
    )

    def __init__(self, route: Route, *, owner: str, meter: Meter) -> None:
        for struct in (route.body, route.query):
            strict = struct is None or struct.__struct_config__.forbid_unknown_fields
            invariant(strict, f"{route.method} {route.path} forbids unknown fields")
        self.route = route
        self.owner = owner
        self.meter = meter
        self.names = tuple(_PARAMETER.findall(route.path))
        self.is_public = route.access is Access.PUBLIC
        self.permissions = permissions_for(route)
        self.body_is_optional = route.body is not None and not any(
            field.required for field in msgspec.structs.fields(route.body)
        )

    async def body(self, incoming: Incoming) -> msgspec.Struct | bytes | None:
        """The request's body as the route declares it; None where it declares none.

        A form is not read: what is wrong with one is for its route to say.

        Raises:
            BadRequest, ValidationFailed, PayloadTooLarge, UnsupportedMediaType: it does not fit.
            ClientGone: the connection was lost.
        """
        struct = self.route.body
        if self.route.form is not None:
            return await incoming.body(limit=self.route.max_body_bytes)
        if struct is None:
            if self.route.method != "GET":  # nothing is done before the request is there whole
                await incoming.body(limit=self.route.max_body_bytes)
            return None
        sent = await incoming.body(limit=self.route.max_body_bytes)
        if not sent and self.body_is_optional:
            return struct()
        if not sent:
            raise BadRequest("A JSON body is required.")
        content_type = incoming.raw.get(b"content-type", b"")
        if content_type != b"application/json" and not _JSON_TYPE.fullmatch(content_type):
            raise UnsupportedMediaType
        if len(sent) > _LONG_BYTES:
            return await asyncio.to_thread(parse, sent, struct)
        return parse(sent, struct)

    def query(self, incoming: Incoming) -> msgspec.Struct | None:
        """The query string as the route declares it.

        Raises:
            BadRequest, ValidationFailed: it does not fit, or there should be none.
        """
        struct = self.route.query
        if struct is not None:
            is_open = self.route.query_is_open
            return parse_query(incoming.query_string, struct, is_open=is_open)
        if incoming.query_string:
            refuse_query(incoming.query_string)
        return None

    def choose_key(self, incoming: Incoming) -> None:
        """Give an operation that moves money its name: the caller's key, or a new one.

        It is chosen before anything can go wrong, and said in the request, so that whoever answers
        (a context elsewhere, a refusal, a bug after the commit) means the same key.
        """
        given = incoming.raw.get(b"idempotency-key")
        if given is None:
            incoming.key = incoming.raw[b"idempotency-key"] = new_id_text().encode("ascii")
        elif _KEY.fullmatch(given):
            incoming.key = given

    def idempotency_key(self, incoming: Incoming) -> str:
        """The key that names this operation.

        Raises:
            ValidationFailed: the caller's is empty, too long, or not visible ASCII.
        """
        if not incoming.key:
            reason = "must have 1 to 255 visible ASCII characters"
            raise ValidationFailed(fields={"Idempotency-Key": reason})
        return incoming.key.decode("ascii")

    def path_of(self, values: tuple[str, ...]) -> str:
        """The route's whole path with its parameters filled in, escaped anew."""
        path = template_of(self.route)
        for name, value in zip(self.names, values, strict=True):
            path = path.replace(f"{{{name}}}", quote(value, safe=""))
        return path


def permissions_for(route: Route) -> tuple[str, ...]:
    """The permissions of which a caller needs one; none where an `Access` says who may come."""
    if isinstance(route.access, Access):
        return ()
    return (route.access,) if isinstance(route.access, str) else route.access


def template_of(route: Route) -> str:
    """The route's whole path as it is listed, with its parameters' names."""
    return route.path if route.at_root else API_PREFIX + route.path
