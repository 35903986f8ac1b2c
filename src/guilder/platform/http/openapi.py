"""Makes the OpenAPI 3.1 document from the routes, so that it says what the dispatcher does.

Listed is each route's own path; the spelling by service (``/api/v1/{service}/…``) is the gateway's
and means the same.
"""

from __future__ import annotations

import inspect
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec

from guilder.kernel.errors import (
    BadRequest,
    NotFound,
    NotPermitted,
    Overloaded,
    Refusal,
    Unauthenticated,
    ValidationFailed,
)
from guilder.platform.http.endpoint import permissions_for, template_of
from guilder.platform.http.fields import Amount, Moment, SignedAmount
from guilder.platform.http.form import FORM_TYPE
from guilder.platform.http.refusals import (
    PayloadTooLarge,
    RateLimitExceeded,
    UnsupportedMediaType,
)
from guilder.platform.http.route import Access, Route
from guilder.platform.http.status import INTERNAL_ERROR, status_of

Schema = dict[str, Any]

_REF: Final = "#/components/schemas/{name}"
_PARAMETER: Final = re.compile(r"\{([a-z_]+)\}")
_BEARER: Final = "access_token"
_JSON: Final = "application/json"

_READ_AS: Final = "in major units: text, or a number that is read digit by digit."
_DIGITS: Final = r"(0|[1-9][0-9]{0,17})(\.[0-9]{1,4})?$"
_AMOUNT: Final[Schema] = {
    "description": f"An amount {_READ_AS}",
    "anyOf": [{"type": "string", "pattern": f"^{_DIGITS}"}, {"type": "number", "minimum": 0}],
    "examples": ["5000.00"],
}
_SIGNED_AMOUNT: Final[Schema] = {
    "description": f"An amount, which may be negative, {_READ_AS}",
    "anyOf": [{"type": "string", "pattern": f"^-?{_DIGITS}"}, {"type": "number"}],
    "examples": ["-500.00"],
}
_MOMENT: Final[Schema] = {
    "description": "A time with its offset, between the years 1900 and 9000.",
    "type": "string",
    "format": "date-time",
}
_KEY: Final[Schema] = {
    "type": "string",
    "pattern": "^[!-~]{1,255}$",
    "minLength": 1,
    "maxLength": 255,
}
_ERROR: Final[Schema] = {
    "type": "object",
    "description": "A refusal: switch on `code`, show `message`, quote `request_id`.",
    "required": ["success", "error"],
    "properties": {
        "success": {"const": False, "type": "boolean"},
        "error": {
            "type": "object",
            "required": ["code", "message", "request_id"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "details": {"type": "object", "additionalProperties": True},
                "request_id": {"type": "string"},
            },
        },
    },
}
_PLAIN_ERROR: Final[Schema] = {
    "type": "object",
    "description": "An error as OAuth has it (RFC 6749, section 5.2).",
    "required": ["error", "error_description"],
    "properties": {"error": {"type": "string"}, "error_description": {"type": "string"}},
}
_PAGE_META: Final[Schema] = {
    "type": "object",
    "description": "Where a list goes on.",
    "required": ["next_cursor", "has_more"],
    "properties": {
        "next_cursor": {"type": ["string", "null"]},
        "has_more": {"type": "boolean"},
    },
}
_HEADERS: Final[Schema] = {
    "X-Request-ID": {
        "description": "The request's id: the one it was sent with, or a new one.",
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": "How many requests are left, and when there is one more, unless it is off.",
        "schema": {"type": "string"},
        "example": '"default";r=99;t=12',
    },
    "RateLimit-Policy": {
        "description": "How many requests there are in how many seconds, unless it is off.",
        "schema": {"type": "string"},
        "example": '"default";q=100;w=60',
    },
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}},
    "Idempotency-Key": {"description": "The key of this operation.", "schema": {"type": "string"}},
    "Idempotency-Replayed": {
        "description": "That this is the answer to a request before this one.",
        "schema": {"const": "true"},
    },
}
_ALWAYS: Final = ("X-Request-ID", "RateLimit", "RateLimit-Policy")


def openapi_document(routes: Iterable[Route], *, version: str) -> Schema:
    """The document of all listed routes."""
    listed = sorted(
        (route for route in routes if route.listed), key=lambda route: (route.tag, route.path)
    )
    schemas = _Schemas(listed)
    paths: dict[str, Schema] = defaultdict(dict)
    for route in listed:
        paths[template_of(route)][route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": _info(version),
        "servers": [{"url": "/", "description": "This server"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(route.tag for route in listed)],
        "paths": dict(paths),
        "components": {
            "schemas": {**schemas.components, "Error": _ERROR, "PageMeta": _PAGE_META},
            "headers": _HEADERS,
            "securitySchemes": {
                _BEARER: {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
        },
    }


def _info(version: str) -> Schema:
    return {
        "title": "Guilder",
        "version": version,
        "description": (
            "Wallets and accounts on one verified double-entry ledger. Every answer is "
            '`{"success": true, "data": …}` or `{"success": false, "error": …}`; lists add '
            "`meta`. Each path may also be written with a service name after `/api/v1`, as "
            "`/api/v1/wallet/wallets`."
        ),
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    }


class _Schemas:
    """The JSON schemas of all structs that the routes read and answer."""

    def __init__(self, routes: Iterable[Route]) -> None:
        found = [
            type_
            for route in routes
            for type_ in (route.body, route.form, route.query, route.answers, route.accepted)
            if type_ is not None
        ]
        self._types = list(dict.fromkeys(found))
        made, self.components = msgspec.json.schema_components(
            self._types, schema_hook=_schema_hook, ref_template=_REF
        )
        self._schemas = dict(zip(self._types, made, strict=True))
        for component in self.components.values():
            _leave_out_null_defaults(component)
            _translate_patterns(component)
        queries = {route.query for route in routes if route.query is not None}
        for query in queries.difference(route.body for route in routes):
            self.components.pop(query.__name__, None)

    def of(self, type_: Any) -> Schema:
        return self._schemas[type_]


def _leave_out_null_defaults(schema: Schema) -> None:
    """A field that is null by default is one that may be left out; generators read it otherwise."""
    for field in schema.get("properties", {}).values():
        if field.get("default", ...) is None:
            del field["default"]


def _translate_patterns(schema: Any) -> None:
    """Say the end of a text as JSON Schema does, by ``$``; Python's ``\\Z`` is an error there."""
    if isinstance(schema, list):
        for item in schema:
            _translate_patterns(item)
    elif isinstance(schema, dict):
        pattern = schema.get("pattern")
        if isinstance(pattern, str):
            schema["pattern"] = re.sub(r"\\Z$", "$", pattern)
        for item in schema.values():
            _translate_patterns(item)


def _schema_hook(type_: type[Any]) -> Schema:
    if issubclass(type_, SignedAmount):
        return _SIGNED_AMOUNT
    if issubclass(type_, Amount):
        return _AMOUNT
    if issubclass(type_, Moment):
        return _MOMENT
    raise NotImplementedError(f"{type_!r} has no schema")


def _operation(route: Route, schemas: _Schemas) -> Schema:
    operation: Schema = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "tags": [route.tag],
        "security": [] if route.access is Access.PUBLIC else [{_BEARER: []}],
        "responses": _responses(route, schemas),
    }
    description = _description(route)
    if description:
        operation["description"] = description
    parameters = [*_path_parameters(route), *_query_parameters(route)]
    if route.moves_money:
        parameters.append(_idempotency_key(route))
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None or route.form is not None:
        operation["requestBody"] = _request_body(route, schemas)
    return operation


def _operation_id(route: Route) -> str:
    words = re.findall(r"[A-Za-z0-9]+", route.path)
    return "_".join([route.method.lower(), *words])


def _description(route: Route) -> str:
    said = inspect.getdoc(route.handler) or ""
    permissions = permissions_for(route)
    if permissions:
        named = " or ".join(f"`{permission}`" for permission in permissions)
        said = f"{said}\n\nNeeds the permission {named}.".strip()
    return said


def _path_parameters(route: Route) -> list[Schema]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "format": "uuid"}
            if name == "id" or name.endswith("_id")
            else {"type": "string", "minLength": 1},
        }
        for name in _PARAMETER.findall(route.path)
    ]


def _query_parameters(route: Route) -> list[Schema]:
    if route.query is None:
        return []
    (_, components) = msgspec.json.schema_components(
        [route.query], schema_hook=_schema_hook, ref_template=_REF
    )
    struct = components[route.query.__name__]
    _translate_patterns(struct)
    required = set(struct.get("required", ()))
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _unnulled(schema)}
        for name, schema in struct["properties"].items()
    ]


def _unnulled(schema: Schema) -> Schema:
    """A query parameter that is null is one that is not there."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    said = {name: value for name, value in schema.items() if value is not None and name != "anyOf"}
    if len(kinds) == 1:
        return {**said, **kinds[0]}
    return {**said, "anyOf": kinds} if kinds else said


def _request_body(route: Route, schemas: _Schemas) -> Schema:
    struct = route.form if route.body is None else route.body
    content: Schema = {"schema": schemas.of(struct)}
    if route.example is not None:
        content["example"] = dict(route.example)
    optional = struct is not None and not any(
        field.required for field in msgspec.structs.fields(struct)
    )
    media_type = FORM_TYPE if route.body is None else _JSON
    return {"required": not optional, "content": {media_type: content}}


def _responses(route: Route, schemas: _Schemas) -> Schema:
    responses: Schema = {str(route.status): _success(route, schemas)}
    if route.accepted is not None:
        responses["202"] = _more_is_needed(route, schemas)
    by_status: dict[int, dict[str, str]] = defaultdict(dict)
    for refusal in (*route.raises, *_implied(route)):
        by_status[status_of(refusal)][refusal.code] = refusal.message
    by_status[500][INTERNAL_ERROR] = "Something went wrong on our side."
    for status, messages in sorted(by_status.items()):
        responses[str(status)] = _failure(status, messages, is_plain=route.form is not None)
    return responses


def _implied(route: Route) -> Iterable[type[Refusal]]:
    """The refusals that the dispatcher and the gateway can answer for any such route."""
    yield from (BadRequest, ValidationFailed, RateLimitExceeded, Overloaded)
    if route.access is not Access.PUBLIC:
        yield Unauthenticated
        yield NotPermitted
    if "{" in route.path:
        yield NotFound
    if route.body is not None or route.form is not None:
        yield from (PayloadTooLarge, UnsupportedMediaType)


def _idempotency_key(route: Route) -> Schema:
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": f"{route.key_means} Without one a key is made and returned.",
        "schema": _KEY,
    }


def _success(route: Route, schemas: _Schemas) -> Schema:
    told = ("Idempotency-Key", "Idempotency-Replayed") if route.moves_money else ()
    response: Schema = {"description": route.summary, "headers": _headers(*_ALWAYS, *told)}
    if route.answers is None or route.status == 204:
        return response
    data = schemas.of(route.answers)
    if route.form is not None:
        return {**response, "content": {_JSON: {"schema": data}}}
    envelope: Schema = {
        "type": "object",
        "required": ["success", "data"],
        "properties": {"success": {"const": True, "type": "boolean"}, "data": data},
    }
    if route.is_list:
        envelope["required"].append("meta")
        envelope["properties"]["data"] = {"type": "array", "items": data}
        envelope["properties"]["meta"] = {"$ref": _REF.format(name="PageMeta")}
    response["content"] = {_JSON: {"schema": envelope}}
    return response


def _more_is_needed(route: Route, schemas: _Schemas) -> Schema:
    """Nothing was done yet: the answer says what is to be sent first."""
    asking = replace(route, answers=route.accepted, status=202, is_list=False)
    return {**_success(asking, schemas), "description": "Something more is needed first"}


def _failure(status: int, messages: Mapping[str, str], *, is_plain: bool) -> Schema:
    codes = {
        "type": "object",
        "properties": {
            "error": {"type": "object", "properties": {"code": {"enum": sorted(messages)}}}
        },
    }
    schema: Schema = {"allOf": [{"$ref": _REF.format(name="Error")}, codes]}
    if is_plain:
        schema = {"anyOf": [schema, _PLAIN_ERROR]}
    return {
        "description": " ".join(f"`{code}`: {said}" for code, said in sorted(messages.items())),
        "headers": _headers(*_ALWAYS, *(("Retry-After",) if status in {429, 503} else ())),
        "content": {_JSON: {"schema": schema}},
    }


def _headers(*names: str) -> Schema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
