"""What the OpenAPI document says of idempotency keys: they last where they are kept."""

from __future__ import annotations

from pathlib import Path

from guilder.apps.compose import build_house
from guilder.platform.db import Database
from guilder.platform.http.openapi import openapi_document
from guilder.platform.settings import Settings


async def test_a_route_says_for_how_long_its_keys_make_repeating_safe(tmp_path: Path):
    house = build_house(Settings(data_dir=tmp_path), db=Database.unconnected())
    routes = [route for module in house.here for route in module.routes if route.listed]

    document = openapi_document(routes, version="1.2.3")

    said = {
        path.removeprefix("/api/v1"): _lifetime(parameter["description"])
        for path, methods in document["paths"].items()
        for operation in methods.values()
        for parameter in operation.get("parameters", ())
        if parameter["name"] == "Idempotency-Key"
    }
    assert said == {
        "/transactions/deposit": ["24 hours"],
        "/transactions/withdrawal": ["24 hours"],
        "/transactions/transfer": ["24 hours"],
        "/transactions/topup": ["24 hours"],
        "/ledger/accounts": ["for good"],
        "/ledger/transactions": ["for good"],
        "/ledger/transactions/bulk": ["for good"],
        "/ledger/transactions/{transaction_id}/reverse": ["for good"],
        "/ledger/transactions/{transaction_id}/post": ["any key"],
        "/ledger/transactions/{transaction_id}/void": ["any key"],
    }


def _lifetime(description: str) -> list[str]:
    return [words for words in ("24 hours", "for good", "any key") if words in description]
