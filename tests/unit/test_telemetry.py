"""What may stand in a log line."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from guilder.platform.telemetry import HIDDEN, bound, configure_logging, mask

SECRET_TEXTS = [
    "anna.rao+wallet@example.co.in",
    "+919876543210",
    "98765 43210",
    "4111 1111 1111 1111",
    "4111-1111-1111-1111",
    "Bearer abc.def-ghi",
    "Basic YW5uYTpzZWNyZXQ=",
    "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln",
    'password="correct horse"',
    "{'otp': '123456'}",
    "reset_token=abcdef",
    "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMG\n-----END PRIVATE KEY-----",
]
OPEN_TEXTS = [
    "0192f4c8-7a31-7c7e-9f2b-123456789012",
    "2026-11-20T10:30:00.123456Z",
    "batch of 256 in 4.2 ms",
    "127.0.0.1:8000",
    "wallet.created",
    "v0001",
]


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    written = io.StringIO()
    handlers = list(logging.getLogger().handlers)
    level = logging.getLogger().level
    configure_logging(level="info", as_json=True, to=written)
    yield written
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


@pytest.mark.parametrize("text", SECRET_TEXTS)
def test_a_secret_is_masked_wherever_it_stands_in_a_text(text: str):
    shown = mask(f"before {text} after")

    assert HIDDEN in shown
    assert text not in shown
    assert shown.startswith("before ")


@pytest.mark.parametrize("text", OPEN_TEXTS)
def test_what_operators_need_is_not_masked(text: str):
    assert mask(text) == text


@pytest.mark.parametrize(
    "name",
    ["password", "new_password", "access_token", "Authorization", "otp", "email", "phone",
     "full_name", "card_number", "cvv", "api_key", "client_secret"],
)  # fmt: skip
def test_a_field_is_masked_by_its_name_at_any_depth(name: str):
    assert mask({"outer": [{name: "Anna"}]}) == {"outer": [{name: HIDDEN}]}


def test_numbers_and_nothing_stay_as_they_are():
    assert mask({"count": 3, "share": 0.5, "done": True, "reason": None}) == {
        "count": 3,
        "share": 0.5,
        "done": True,
        "reason": None,
    }


def test_a_line_carries_the_request_id_and_hides_the_person(lines: io.StringIO):
    with bound(request_id="r-1"):
        structlog.get_logger("guilder.test").info("user.registered", email="anna@example.org")

    line = json.loads(lines.getvalue())
    assert line["event"] == "user.registered"
    assert line["request_id"] == "r-1"
    assert line["email"] == HIDDEN


def test_the_text_of_an_exception_is_masked(lines: io.StringIO):
    try:
        int("Key (email)=(anna@example.org)")
    except ValueError:
        structlog.get_logger("guilder.test").exception("http.bug")

    line = json.loads(lines.getvalue())
    assert "anna@example.org" not in line["exception"]
    assert "ValueError" in line["exception"]


def test_lines_of_libraries_are_masked_too(lines: io.StringIO):
    logging.getLogger("some.library").warning("cannot reach %s", "postgresql://anna:pw@db/x")

    line = json.loads(lines.getvalue())
    assert line["event"] == f"cannot reach postgresql://anna:{HIDDEN}@db/x"
    assert line["level"] == "warning"
