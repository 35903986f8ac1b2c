"""``guilder openapi``: the API's description, as a server of this version gives it."""

from __future__ import annotations

import asyncio

import httpx2
import typer

from guilder.apps.compose import build_house, http_app
from guilder.apps.session import begin
from guilder.platform.db import Database
from guilder.platform.settings import Settings


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("openapi", short_help="Print the OpenAPI document.")(openapi)


def openapi() -> None:
    """Print the OpenAPI document of the whole API as JSON. No database is needed."""
    print(asyncio.run(_document(begin(quiet=True))))


async def _document(settings: Settings) -> str:
    app = http_app(build_house(settings, db=Database.unconnected()))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.get("/openapi.json")
    return answer.raise_for_status().text
