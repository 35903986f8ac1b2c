"""Codes by time are those of RFC 6238, each good once, and wrong ones cost more and more time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.identity.domain import totp

SECRET = b"12345678901234567890"
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
NOW = totp.step_of(NOON)


@pytest.mark.parametrize(
    ("second", "code"),
    [
        (59, "287082"),
        (1_111_111_109, "081804"),
        (1_111_111_111, "050471"),
        (1_234_567_890, "005924"),
        (2_000_000_000, "279037"),
        (20_000_000_000, "353130"),
    ],
)
def test_codes_are_those_of_the_standard(second: int, code: str) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)

    # appendix B lists eight digits, of which these are the last six
    assert totp.code(SECRET, step=totp.step_of(moment)) == code


@pytest.mark.parametrize(
    ("count", "code"),
    [
        (0, "755224"),
        (1, "287082"),
        (2, "359152"),
        (3, "969429"),
        (4, "338314"),
        (5, "254676"),
        (6, "287922"),
        (7, "162583"),
        (8, "399871"),
        (9, "520489"),
    ],
)
def test_counted_codes_are_those_of_rfc_4226(count: int, code: str) -> None:
    assert totp.code(SECRET, step=count) == code


@pytest.mark.parametrize("beside", [-1, 0, 1])
def test_a_code_is_good_in_its_step_and_the_two_beside_it(beside: int) -> None:
    typed = totp.code(SECRET, step=NOW + beside)

    assert totp.matching_step(typed, secret=SECRET, moment=NOON, after=0) == NOW + beside


@pytest.mark.parametrize("beside", [-2, 2, 100])
def test_a_code_of_another_time_is_not_good(beside: int) -> None:
    typed = totp.code(SECRET, step=NOW + beside)

    assert totp.matching_step(typed, secret=SECRET, moment=NOON, after=0) is None


@pytest.mark.parametrize("used", [NOW, NOW + 1])
def test_a_code_that_was_used_or_passed_over_is_not_good(used: int) -> None:
    typed = totp.code(SECRET, step=NOW)

    assert totp.matching_step(typed, secret=SECRET, moment=NOON, after=used) is None


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("123456", "123456"),
        (" 123 456 ", "123456"),
        ("12345", None),
        ("1234567", None),
        ("12 34 56", None),
        ("123\n456", None),
        ("١٢٣٤٥٦", None),
        ("\N{FULLWIDTH DIGIT ONE}23456", None),
        ("+12345", None),
        ("", None),
    ],
)
def test_only_six_plain_digits_are_read_as_a_code(text: str, read: str | None) -> None:
    assert totp.read_code(text) == read


@given(st.binary(min_size=1, max_size=64), st.integers(min_value=0, max_value=2**40))
def test_every_code_has_six_digits(secret: bytes, step: int) -> None:
    assert totp.read_code(totp.code(secret, step=step)) is not None


def test_the_wait_doubles_and_ends_at_an_hour() -> None:
    waits = [int(totp.wait_after(failures).total_seconds()) for failures in range(15)]

    assert waits == [0, 0, 0, 0, 0, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


def test_no_number_of_failures_is_too_large_to_count() -> None:
    assert totp.wait_after(10**9) == totp.LONGEST_WAIT
