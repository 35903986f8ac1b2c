"""The API's documentation: the OpenAPI document, and Swagger UI served from here, without a CDN."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import msgspec

from guilder.kernel.errors import NotFound
from guilder.kernel.invariant import invariant
from guilder.platform.http.route import Access, Handler, RawAnswer, Request, Route

_TAG: Final = "documentation"
_CACHED: Final = (("cache-control", "public, max-age=3600"),)

_PAGE: Final = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Guilder API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_START: Final = b"""SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
"""
# Swagger UI sets the style attributes of what it draws; everything else comes from this server.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
# Our names, and those of the files in the offapi package: Swagger UI 5 as it was released.
_PACKAGED: Final = {
    "swagger-ui.css": ("swagger_style.css", "text/css; charset=utf-8"),
    "swagger-ui.js": ("swagger_bundle.js", "text/javascript; charset=utf-8"),
}


def documentation_routes(document: dict[str, Any]) -> tuple[Route, ...]:
    """``/openapi.json``, ``/docs`` and its files, and ``/``, which leads there."""
    encoded = msgspec.json.encode(document)

    async def openapi(_: Request) -> RawAnswer:
        return RawAnswer(body=encoded, content_type="application/json")

    async def page(_: Request) -> RawAnswer:
        policy = (("content-security-policy", _POLICY),)
        return RawAnswer(body=_PAGE, content_type="text/html; charset=utf-8", headers=policy)

    async def file(request: Request) -> RawAnswer:
        body, content_type = _file(request.params["name"])
        return RawAnswer(body=body, content_type=content_type, headers=_CACHED)

    async def front(_: Request) -> RawAnswer:
        there = (("location", "/docs"),)
        return RawAnswer(body=b"", content_type="text/plain", status=307, headers=there)

    return (
        _route("/openapi.json", openapi, "The OpenAPI document"),
        _route("/docs", page, "The API to read and try"),
        _route("/docs/{name}", file, "What the documentation page needs"),
        _route("/", front, "To the documentation"),
    )


def _route(path: str, handler: Handler, summary: str) -> Route:
    return Route(
        method="GET",
        path=path,
        handler=handler,
        access=Access.PUBLIC,
        summary=summary,
        tag=_TAG,
        at_root=True,
        listed=False,
    )


def _file(name: str) -> tuple[bytes, str]:
    if name == "start.js":
        return _START, "text/javascript; charset=utf-8"
    if name not in _PACKAGED:
        raise NotFound
    packaged, content_type = _PACKAGED[name]
    return _packaged(packaged), content_type


@cache
def _packaged(name: str) -> bytes:
    # Importing offapi would read all its files and keep them, so it is only looked up.
    spec = find_spec("offapi")
    invariant(spec is not None and spec.origin is not None, "offapi is installed")
    if spec is None or spec.origin is None:
        raise NotFound
    return (Path(spec.origin).parent / name).read_bytes()
