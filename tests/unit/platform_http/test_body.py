"""Bodies are read strictly: what could be understood in two ways is refused."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import threading
import tracemalloc
from collections.abc import MutableMapping
from contextlib import suppress
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from guilder.kernel.errors import BadRequest, Refusal, ValidationFailed
from guilder.platform.http.body import MAX_DEPTH, parse, read_json
from guilder.platform.http.endpoint import Endpoint
from guilder.platform.http.fields import Amount, Description, Moment, Name
from guilder.platform.http.forwarded import TrustedProxies
from guilder.platform.http.incoming import Incoming
from guilder.platform.http.metrics import RequestMetrics
from tests.support.shop import Shop


class Item(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    amount: Amount
    to: UUID | None = None


class Order(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    amount: Amount
    count: int = 0
    urgent: bool = False
    name: Name | None = None
    note: Description | None = None
    at: Moment | None = None
    items: list[Item] = []
    labels: dict[str, str] = {}


UNREADABLE = [
    b"",
    b" ",
    b"{",
    b"nonsense",
    b"{'a': 1}",
    b'{"a": 1,}',
    b'{"a": 1} {"b": 2}',
    b'\xef\xbb\xbf{"a": 1}',
    b'{"a": "\xff"}',
    b'{"a": "\xed\xa0\x80"}',
    b'{"a": "\xc0\x80"}',
    '{"a": 1}'.encode("utf-16"),
    b'{"a": NaN}',
    b'{"a": Infinity}',
    b'{"a": -Infinity}',
    b'{"a": 1e400}',
    b'{"a": 1e2}',
    b'{"a": 1E2}',
    b'{"a": 1.0e0}',
    b'{"a": 01}',
    b'{"a": +1}',
    b'{"a": .5}',
    b'{"a": 5.}',
    b'{"a": 0x10}',
    b'{"a": 1_000}',
    b'{"a": 1, "a": 1}',
    b'{"b": [{"a": 1, "a": 2}]}',
    b'{"a": 1, "\\u0061": 2}',
    b'{"a": "\\u0000"}',
    b'{"\\u0000": 1}',
    b'{"a": "\\ud800"}',
    b'{"a": "\\udc00\\ud800"}',
    b'{"a": ["\\ud800"]}',
    b'{"a": "tab\there"}',
    b'{"a": "line\nbreak"}',
    b'{"a": "nul\x00"}',
    b'{"a": 99999999999999999999}',
    b'{"a": ' + b"9" * 100_000 + b"}",
    b'{"a": 0.' + b"1" * 100_000 + b"}",
    b"[" * 100_000,
    b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
    b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1),
]


@pytest.mark.parametrize("body", UNREADABLE, ids=lambda body: repr(body[:24]))
def test_a_body_that_can_be_misread_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        read_json(body)


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 50_000 + b"1" + b"}" * 50_000],
    ids=["arrays", "objects"],
)
def test_nesting_without_end_is_refused_before_it_is_read(body: bytes) -> None:
    with pytest.raises(BadRequest, match="deep"):
        read_json(body)


def test_a_body_of_escapes_takes_no_memory_to_look_at() -> None:
    body = json.dumps([{"a": "\n" * 1_000_000}] + [{}] * MAX_DEPTH).encode()

    tracemalloc.start()
    read_json(body)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 8 * len(body)


JSON = st.recursive(
    st.none() | st.text(alphabet='[]{}"\\,:a\n\u00e9'),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(alphabet='[]{}"\\a', max_size=4), inner, max_size=4)
    ),
    max_leaves=200,
)


def depth_of(value: Any) -> int:
    if isinstance(value, dict | list):
        inside = value.values() if isinstance(value, dict) else value
        return 1 + max(map(depth_of, inside), default=0)
    return 0


@given(JSON, st.booleans())
def test_depth_is_that_of_what_is_meant(value: Any, plain: bool) -> None:
    body = json.dumps(value, ensure_ascii=plain, indent=None if plain else 1).encode()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("guilder.platform.http.body.MAX_DEPTH", 3)
        if depth_of(value) > 3:
            with pytest.raises(BadRequest, match="deep"):
                read_json(body)
        else:
            assert read_json(body) == value


def test_nesting_up_to_the_limit_is_read() -> None:
    read = read_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b" ")

    for _ in range(MAX_DEPTH - 1):
        (read,) = read
    assert read == []


def test_brackets_inside_text_do_not_count_as_nesting() -> None:
    text = '"[{[{' * 40

    assert read_json(json.dumps([text]).encode()) == [text]


def test_many_shallow_objects_are_not_deep() -> None:
    assert len(read_json(json.dumps([{}] * 5000).encode())) == 5000


def test_a_fraction_keeps_exactly_the_digits_that_were_sent() -> None:
    read = read_json(b'{"a": 5000.10, "b": 0.1, "c": 123456789012345678.12}')

    assert {name: str(value) for name, value in read.items()} == {
        "a": "5000.10",
        "b": "0.1",
        "c": "123456789012345678.12",
    }
    assert all(type(value) is Decimal for value in read.values())


@pytest.mark.parametrize("text", ["naïve", "日本", "😀", "नमस्ते", "e\u0301", "a\u200db"])
def test_text_of_any_script_is_read_as_it_was_sent(text: str) -> None:
    escaped = json.dumps({"a": text}).encode()
    plain = json.dumps({"a": text}, ensure_ascii=False).encode()

    assert read_json(escaped) == read_json(plain) == {"a": text}


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(), st.lists))
def test_what_json_writes_is_read_back(value: Any) -> None:
    readable = "\x00" not in json.dumps(value, ensure_ascii=False) and "\\u0000" not in json.dumps(
        value
    )
    if readable:
        assert read_json(json.dumps(value).encode("utf-8")) == value


@given(st.binary(max_size=200))
def test_no_bytes_at_all_are_more_than_a_refusal(body: bytes) -> None:
    with suppress(Refusal):
        assert isinstance(parse(body, Order), Order)


@pytest.mark.parametrize(
    ("sent", "amount"),
    [
        ('"5000.00"', "5000.00"),
        ('"500"', "500"),
        ("5000", "5000"),
        ("5000.10", "5000.10"),
        ("0.001", "0.001"),
        ("0.0000001", "0.0000001"),
        ("-5", "-5"),
        ('"abc"', "abc"),
    ],
)
def test_an_amount_is_the_text_that_was_sent(sent: str, amount: str) -> None:
    order = parse(f'{{"amount": {sent}}}'.encode(), Order)

    assert order.amount == amount
    assert type(order.amount) is Amount


@pytest.mark.parametrize(
    "sent", ["true", "null", "[]", "{}", '"\uff11\uff12"', '"' + "1" * 41 + '"']
)
def test_what_is_no_text_and_no_number_is_no_amount(sent: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        parse(f'{{"amount": {sent}}}'.encode(), Order)

    assert list(refused.value.details["fields"]) == ["amount"]


@pytest.mark.parametrize(
    ("name", "sent", "reason"),
    [
        ("count", '"1"', "must be a whole number"),
        ("count", "true", "must be a whole number"),
        ("count", "1.5", "must be a whole number"),
        ("urgent", "1", "must be true or false"),
        ("urgent", '"true"', "must be true or false"),
        ("name", "5", "must be a string or null"),
        ("name", '""', "must have at least 1 characters"),
        ("name", json.dumps("x" * 121), "must have at most 120 characters"),
        ("at", '"2026-11-20T10:00:00"', "must be a time with its offset, as RFC 3339 writes it"),
        ("at", '"yesterday"', "must be a time with its offset, as RFC 3339 writes it"),
        ("at", "5", "must be a time with its offset, as RFC 3339 writes it"),
        ("at", '"0001-01-01T00:00:00+14:00"', "must lie between the years 1900 and 9000"),
        ("items", "{}", "must be a list"),
        ("labels", "[]", "must be an object"),
        ("colour", '"red"', "is not known here"),
    ],
)
def test_a_field_that_does_not_fit_is_named_with_the_reason(
    name: str, sent: str, reason: str
) -> None:
    with pytest.raises(ValidationFailed) as refused:
        parse(f'{{"amount": "1", "{name}": {sent}}}'.encode(), Order)

    assert refused.value.details["fields"] == {name: reason}


def test_every_field_that_does_not_fit_is_named_at_once() -> None:
    with pytest.raises(ValidationFailed) as refused:
        parse(b'{"count": "x", "colour": 1, "items": [{"amount": "1"}, {"amount": []}]}', Order)

    assert refused.value.details["fields"] == {
        "amount": "is required",
        "count": "must be a whole number",
        "colour": "is not known here",
        "items[1].amount": "must be a string or a number",
    }


SECRET = "hunter2"


@pytest.mark.parametrize(
    "body",
    [
        {"amount": {SECRET: SECRET}},
        {"amount": "1", SECRET + " ": 1},
        {"amount": "1", "labels": {SECRET: 5}},
        {"amount": "1", "items": [{"amount": "1", "to": SECRET}]},
        {"amount": "1", "items": [{"amount": "1", SECRET: 1}]},
        {"amount": "1", "at": SECRET},
        {"amount": "1", "name": f"{SECRET}\n"},
    ],
)
def test_a_refusal_never_repeats_what_was_sent(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationFailed) as refused:
        parse(json.dumps(body).encode(), Order)

    assert SECRET not in f"{refused.value} {refused.value.details}"


@pytest.mark.parametrize(
    "text",
    [
        "a\nb",
        "ab\n",
        "\nab",
        "a\tb",
        "a\rb",
        "a\x7fb",
        "a\x85b",
        "a\u2028b",
        "a\u202eb",
        "a\ufeffb",
    ],
)
def test_text_with_characters_that_do_not_show_is_refused(text: str) -> None:
    for name in ("name", "note"):
        with pytest.raises(ValidationFailed) as refused:
            parse(json.dumps({"amount": "1", name: text}).encode(), Order)
        assert list(refused.value.details["fields"]) == [name]


@pytest.mark.parametrize("name", [" Anna", "Anna ", " ", "\u00a0Anna"])
def test_a_name_neither_begins_nor_ends_with_space(name: str) -> None:
    with pytest.raises(ValidationFailed):
        parse(json.dumps({"amount": "1", "name": name}).encode(), Order)


@pytest.mark.parametrize("name", ["A", "Anna", "Anna van Dijk", "O'Neill", "नेहा", "李雷", "👩‍💻"])
def test_names_of_people_are_taken_as_they_are(name: str) -> None:
    assert parse(json.dumps({"amount": "1", "name": name}).encode(), Order).name == name


def test_a_time_is_kept_in_utc() -> None:
    order = parse(b'{"amount": "1", "at": "2026-11-20T10:00:00+05:30"}', Order)

    assert order.at is not None
    assert order.at.isoformat() == "2026-11-20T04:30:00+00:00"


@pytest.mark.parametrize("body", [b"[]", b"1", b'"x"', b"null", b"true"])
def test_a_body_that_is_no_object_is_not_valid(body: bytes) -> None:
    with pytest.raises(ValidationFailed, match="must be an object"):
        parse(body, Order)


async def test_others_are_let_in_while_a_long_body_is_read() -> None:
    let_in = threading.Event()

    class Patient(msgspec.Struct, forbid_unknown_fields=True):
        """A body that is not read before the loop has had a turn."""

        text: str

        def __post_init__(self) -> None:
            assert let_in.wait(10), "the loop stands still while the body is read"

    shop = Shop()
    route = next(route for route in shop.routes() if route.path.endswith("/remark"))
    meter = RequestMetrics(CollectorRegistry()).meter(method="POST", template="/remark")
    endpoint = Endpoint(
        dataclasses.replace(route, body=Patient, max_body_bytes=1024 * 1024),
        owner="shop",
        meter=meter,
    )
    body = b'{"text": "hello"' + b" " * 512 * 1024 + b"}"

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": body}

    scope = {
        "method": "POST",
        "path": "/remark",
        "query_string": b"",
        "scheme": "http",
        "client": None,
        "headers": [(b"content-type", b"application/json")],
    }
    incoming = Incoming(scope, receive, proxies=TrustedProxies())

    asyncio.get_running_loop().call_soon(let_in.set)
    read = await endpoint.body(incoming)

    assert read == Patient("hello")
