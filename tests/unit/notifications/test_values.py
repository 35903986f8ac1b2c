"""Values of templates: what can be said to any reader, and what cannot."""

from __future__ import annotations

import pytest

from guilder.notifications.domain.notices import TEMPLATES
from guilder.notifications.domain.values import problems

MONEY = {"amount": "10.00", "currency": "INR", "at": "2026-11-20T10:30:00Z"}


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_example_can_be_said(name: str) -> None:
    assert problems(TEMPLATES[name].sample) == {}


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-1", "0", "1e3", "much", "1.005"])
def test_an_amount_that_is_none_is_named(amount: str) -> None:
    assert set(problems(MONEY | {"amount": amount})) == {"amount"}


@pytest.mark.parametrize(
    "at",
    [
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "2026-11-20T10:30:00",
        "2026-11-20",
        "20261120T103000Z",
        "noon",
    ],
)
def test_a_time_that_some_reader_has_not_is_named(at: str) -> None:
    assert set(problems(MONEY | {"at": at})) == {"at"}


def test_an_unknown_currency_is_named() -> None:
    assert set(problems(MONEY | {"currency": "XXY"})) == {"currency"}
