"""Amounts go in and out of text exactly, and splits lose nothing."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.kernel.currencies import CURRENCIES, INR, Currency
from guilder.kernel.errors import ValidationFailed
from guilder.kernel.invariant import InvariantViolation
from guilder.kernel.money import (
    MAX_AMOUNT_MINOR,
    BadAmount,
    Money,
    allocate,
    format_minor,
    parse_amount,
)

JPY, BHD, EUR = CURRENCIES["JPY"], CURRENCIES["BHD"], CURRENCIES["EUR"]
any_currency = st.sampled_from(sorted(CURRENCIES.values(), key=str))
any_amount = st.integers(1, MAX_AMOUNT_MINOR)


@pytest.mark.parametrize(
    ("text", "unit", "minor"),
    [
        ("5000.00", INR, 500_000),
        ("5000", INR, 500_000),
        ("7.5", INR, 750),
        ("0.01", INR, 1),
        ("500", JPY, 500),
        ("1.250", BHD, 1250),
        ("1.25", BHD, 1250),
        ("9999999999999.99", INR, MAX_AMOUNT_MINOR),
        ("999999999999999", JPY, MAX_AMOUNT_MINOR),
    ],
)
def test_an_amount_is_read_at_the_currencys_exponent(text: str, unit: Currency, minor: int):
    assert parse_amount(text, unit) == minor


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "0", "0.00", "-1", "+1", "1.", ".5", "01", "1,000", "1_000", " 7", "7 "),
        *("1e3", "1E3", "NaN", "Infinity", "-0", "0x10", "1.001", "10000000000000.00", "9" * 40),
        *(
            "١٢",
            "\uff11\uff12",
            "12\n",
            "1\u00a0000",
            "½",
            "1.2.3",
            "1'000",
            "$5",
            "5 INR",
            "\x00",
            "²",
        ),
    ],
)
def test_what_is_not_plainly_an_amount_is_refused(text: str):
    with pytest.raises(BadAmount):
        parse_amount(text, INR)


def test_a_currency_without_decimals_takes_none():
    with pytest.raises(BadAmount, match="decimals"):
        parse_amount("500.0", JPY)


def test_a_refusal_names_the_field_and_never_the_text():
    with pytest.raises(ValidationFailed) as caught:
        parse_amount("secret", INR, field="items[3].amount")

    assert list(caught.value.details["fields"]) == ["items[3].amount"]
    assert "secret" not in str(caught.value.details)


@given(any_amount, any_currency)
def test_formatting_and_reading_are_each_others_inverse(minor: int, unit: Currency):
    text = format_minor(minor, unit)

    assert parse_amount(text, unit) == minor
    assert Decimal(text) * unit.minor_per_unit == minor


@given(st.text(max_size=12), any_currency)
def test_whatever_is_read_is_the_decimal_number_that_was_written(text: str, unit: Currency):
    try:
        minor = parse_amount(text, unit)
    except BadAmount:
        return
    assert text.isascii()
    assert Decimal(text) * unit.minor_per_unit == minor


@given(st.integers(-MAX_AMOUNT_MINOR, MAX_AMOUNT_MINOR), any_currency)
def test_a_negative_amount_is_its_opposite_with_a_sign(minor: int, unit: Currency):
    assert format_minor(-minor, unit) == (
        f"-{format_minor(minor, unit)}" if minor > 0 else format_minor(-minor, unit)
    )
    assert Decimal(format_minor(minor, unit)) * unit.minor_per_unit == minor


def test_money_adds_and_subtracts_in_one_currency():
    assert Money(150, INR) + Money(50, INR) == Money(200, INR)
    assert Money(150, INR) - Money(200, INR) == Money(-50, INR)
    assert str(Money(-50, INR)) == "-0.50 INR"


def test_currencies_never_mix():
    with pytest.raises(InvariantViolation):
        Money(1, INR) + Money(1, EUR)
    with pytest.raises(InvariantViolation):
        Money(1, INR) - Money(1, EUR)


weights = st.lists(st.integers(0, 10**12), min_size=1, max_size=12).filter(any)


@given(st.integers(0, 10**15), weights)
def test_parts_sum_to_the_amount_and_are_within_one_of_their_share(amount: int, shares: list[int]):
    parts = allocate(amount, shares)

    assert sum(parts) == amount
    total = sum(shares)
    for part, share in zip(parts, shares, strict=True):
        assert abs(part * total - amount * share) < total


@given(weights, st.data())
def test_no_part_of_at_most_the_whole_exceeds_its_weight(shares: list[int], data: st.DataObject):
    amount = data.draw(st.integers(0, sum(shares)))

    parts = allocate(amount, shares)

    assert all(part <= share for part, share in zip(parts, shares, strict=True))


def test_what_is_left_over_goes_to_the_largest_remainder_then_the_first():
    assert allocate(100, [1, 1, 1]) == [34, 33, 33]
    assert allocate(10, [0, 5, 1]) == [0, 8, 2]


@pytest.mark.parametrize(("amount", "shares"), [(-1, [1]), (1, [0, 0]), (1, []), (1, [2, -1])])
def test_a_split_that_makes_no_sense_is_a_bug(amount: int, shares: list[int]):
    with pytest.raises(InvariantViolation):
        allocate(amount, shares)
