"""The OpenAPI document says what the routes do, for people and for generators of clients."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from guilder.kernel.errors import Conflict
from guilder.platform.http.fields import Amount, SignedAmount
from guilder.platform.http.openapi import openapi_document
from guilder.platform.http.route import Access, Route
from tests.support.shop import Shop, Wallet


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi_document(Shop().routes(), version="1.2.3")


def _operation(document: dict[str, Any], method: str, path: str) -> dict[str, Any]:
    operation: dict[str, Any] = document["paths"][path][method]
    return operation


def _codes(operation: dict[str, Any]) -> dict[str, list[str]]:
    return {
        status: response["content"]["application/json"]["schema"]["allOf"][1]["properties"][
            "error"
        ]["properties"]["code"]["enum"]
        for status, response in operation["responses"].items()
        if status >= "400"
    }


def said(name: str, node: Any) -> set[str]:
    """All that is said under this name, wherever."""
    found = set()
    if isinstance(node, dict):
        if isinstance(node.get(name), str):
            found.add(node[name])
        for child in node.values():
            found |= said(name, child)
    elif isinstance(node, list):
        for child in node:
            found |= said(name, child)
    return found


def test_every_listed_route_is_there_under_its_own_path(document: dict[str, Any]) -> None:
    listed = {
        (method.upper(), path.removeprefix("/api/v1"))
        for path, methods in document["paths"].items()
        for method in methods
    }

    assert listed == {(route.method, route.path) for route in Shop().routes()}


def test_an_answer_that_asks_for_more_first_stands_beside_the_usual_one() -> None:
    asking = [replace(route, accepted=Wallet) for route in Shop().routes() if route.moves_money]

    document = openapi_document(asking, version="1.2.3")

    responses = _operation(document, "post", "/api/v1/transactions/transfer")["responses"]
    schema = responses["202"]["content"]["application/json"]["schema"]
    assert schema["properties"]["data"] == {"$ref": "#/components/schemas/Wallet"}
    assert "201" in responses


def test_operations_have_names_of_their_own(document: dict[str, Any]) -> None:
    names = [
        operation["operationId"]
        for methods in document["paths"].values()
        for operation in methods.values()
    ]

    assert "post_transactions_transfer" in names
    assert len(names) == len(set(names))


def test_an_answer_is_described_in_its_envelope(document: dict[str, Any]) -> None:
    operation = _operation(document, "post", "/api/v1/transactions/transfer")
    schema = operation["responses"]["201"]["content"]["application/json"]["schema"]

    assert schema["required"] == ["success", "data"]
    assert schema["properties"]["data"] == {"$ref": "#/components/schemas/Transferred"}


def test_a_list_is_described_with_its_meta(document: dict[str, Any]) -> None:
    operation = _operation(document, "get", "/api/v1/wallets")
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]

    assert schema["properties"]["data"] == {
        "type": "array",
        "items": {"$ref": "#/components/schemas/Wallet"},
    }
    assert schema["properties"]["meta"] == {"$ref": "#/components/schemas/PageMeta"}


def test_codes_are_listed_by_status(document: dict[str, Any]) -> None:
    money = _operation(document, "post", "/api/v1/transactions/transfer")
    guarded = _operation(document, "get", "/api/v1/wallets/{wallet_id}")
    public = _operation(document, "get", "/api/v1/missing")

    assert _codes(money) == {
        "400": ["BAD_REQUEST", "VALIDATION_ERROR"],
        "401": ["UNAUTHORIZED"],
        "403": ["FORBIDDEN"],
        "413": ["PAYLOAD_TOO_LARGE"],
        "415": ["UNSUPPORTED_MEDIA_TYPE"],
        "429": ["RATE_LIMIT_EXCEEDED"],
        "500": ["INTERNAL_ERROR"],
        "503": ["OVERLOADED"],
    }
    assert {"403", "404"} <= _codes(guarded).keys()
    assert "401" not in _codes(public)


def test_a_route_that_moves_money_takes_an_idempotency_key(document: dict[str, Any]) -> None:
    operation = _operation(document, "post", "/api/v1/transactions/transfer")

    assert [parameter["name"] for parameter in operation["parameters"]] == ["Idempotency-Key"]


def test_tokens_are_asked_for_where_the_route_asks_for_them(document: dict[str, Any]) -> None:
    assert _operation(document, "get", "/api/v1/wallets")["security"] == [{"access_token": []}]
    assert _operation(document, "get", "/api/v1/missing")["security"] == []


def test_a_body_that_may_be_left_out_is_not_required(document: dict[str, Any]) -> None:
    remark = _operation(document, "post", "/api/v1/wallets/{wallet_id}/remark")
    transfer = _operation(document, "post", "/api/v1/transactions/transfer")

    assert remark["requestBody"]["required"] is False
    assert transfer["requestBody"]["required"] is True


def test_unknown_fields_are_ruled_out(document: dict[str, Any]) -> None:
    assert document["components"]["schemas"]["TransferBody"]["additionalProperties"] is False


def test_a_field_that_may_be_left_out_has_no_null_default(document: dict[str, Any]) -> None:
    transfer = document["components"]["schemas"]["TransferBody"]

    assert "default" not in transfer["properties"]["description"]
    assert "description" not in transfer["required"]


def test_a_query_parameter_is_never_null(document: dict[str, Any]) -> None:
    parameters = {
        parameter["name"]: parameter
        for parameter in _operation(document, "get", "/api/v1/wallets")["parameters"]
    }

    assert parameters["cursor"]["schema"] == {"type": "string", "maxLength": 1024}
    assert parameters["limit"]["schema"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 200,
        "default": 50,
    }


def test_path_parameters_that_are_ids_are_said_to_be(document: dict[str, Any]) -> None:
    (parameter,) = _operation(document, "get", "/api/v1/wallets/{wallet_id}")["parameters"]

    assert parameter["schema"] == {"type": "string", "format": "uuid"}


def test_an_alias_is_left_out_and_own_refusals_are_told() -> None:
    shop = Shop()
    listed = Route(
        method="GET",
        path="/pots/{name}",
        handler=shop.named,
        access=Access.PUBLIC,
        summary="Look into a pot",
        tag="pots",
        answers=Wallet,
        raises=(Conflict,),
    )
    alias = replace(listed, path="/pot", listed=False)

    document = openapi_document((listed, alias), version="1")

    assert list(document["paths"]) == ["/api/v1/pots/{name}"]
    assert _codes(document["paths"]["/api/v1/pots/{name}"]["get"])["409"] == ["CONFLICT"]


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    components = document["components"]

    known = {
        f"#/components/{kind}/{name}"
        for kind in ("headers", "schemas")
        for name in components[kind]
    }
    assert said("$ref", document) <= known


def test_what_is_read_from_the_query_and_from_a_body_is_described_for_both() -> None:
    remark = next(route for route in Shop().routes() if route.path.endswith("/remark"))

    document = openapi_document([replace(remark, query=remark.body)], version="1")

    operation = _operation(document, "post", "/api/v1/wallets/{wallet_id}/remark")
    assert [parameter["name"] for parameter in operation["parameters"]] == ["wallet_id", "text"]
    assert said("$ref", operation["requestBody"]) == {"#/components/schemas/Remark"}
    assert "Remark" in document["components"]["schemas"]


def test_texts_are_described_in_the_regular_expressions_of_json_schema(
    document: dict[str, Any],
) -> None:
    """Python ends a text with what is an error there, or the letter Z."""
    described = said("pattern", document)

    assert r"^[A-Z]{3}$" in described
    for pattern in described:
        schema = jsonschema_rs.validator_for({"pattern": pattern})  # refuses what is none
        assert not schema.is_valid("no line of text\x07Z")


class Overdraft(msgspec.Struct, forbid_unknown_fields=True):
    floor: SignedAmount | None
    fee: Amount


def test_an_amount_that_may_be_negative_is_described_as_one() -> None:
    remark = next(route for route in Shop().routes() if route.path.endswith("/remark"))

    document = openapi_document([replace(remark, body=Overdraft)], version="1")

    fields = document["components"]["schemas"]["Overdraft"]["properties"]
    floor, fee = (jsonschema_rs.validator_for(fields[name]) for name in ("floor", "fee"))
    assert all(floor.is_valid(fit) for fit in ("-5.00", "0", -2.5, None))
    assert not any(floor.is_valid(unfit) for unfit in ("--5", "", "5-"))
    assert not any(fee.is_valid(unfit) for unfit in ("-5.00", -5))
