"""Money as whole minor units of one currency, and the only way in and out of decimal text.

Amounts never pass through a binary float. What people write is major units at the currency's own
exponent (``"5000.00"`` INR, ``"500"`` JPY, ``"1.250"`` BHD).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from guilder.kernel.currencies import Currency
from guilder.kernel.errors import ValidationFailed
from guilder.kernel.invariant import invariant

MAX_AMOUNT_MINOR: Final = 10**15 - 1
"""The largest amount one entry may have; thousands of them still fit a 64-bit sum."""

# ASCII digits only: int() and Decimal() would also take other scripts' digits, "1_000" and " 7 ".
_AMOUNT: Final = re.compile(r"(0|[1-9][0-9]{0,17})(?:\.([0-9]{1,4}))?", re.ASCII)


class BadAmount(ValidationFailed):
    """The text is not a positive amount that the currency can express."""

    message = "The amount is not valid."

    def __init__(self, reason: str, /, *, field: str = "amount") -> None:
        super().__init__(f"The amount {reason}.", fields={field: reason})


@dataclass(frozen=True, slots=True, order=False)
class Money:
    """A whole number of minor units of one currency. Currencies never mix."""

    minor: int
    currency: Currency

    def __add__(self, other: Money) -> Money:
        invariant(self.currency == other.currency, "currencies never mix")
        return Money(self.minor + other.minor, self.currency)

    def __sub__(self, other: Money) -> Money:
        invariant(self.currency == other.currency, "currencies never mix")
        return Money(self.minor - other.minor, self.currency)

    def __str__(self) -> str:
        return f"{format_minor(self.minor, self.currency)} {self.currency.code}"


def parse_amount(text: str, currency: Currency, *, field: str = "amount") -> int:
    """Read a positive amount in major units, digit by digit, as minor units.

    ``text`` has ASCII digits and at most the currency's decimals, no sign, exponent, spaces or
    separators. ``"7"`` and ``"7.0"`` are both read for a currency with two decimals.

    Raises:
        BadAmount: it is malformed, zero, too large, or finer than the currency's minor unit.
    """
    found = _AMOUNT.fullmatch(text)
    if found is None:
        raise BadAmount("must be a positive decimal number such as 10.50", field=field)
    units, decimals = found[1], found[2] or ""
    if len(decimals) > currency.exponent:
        allowed = currency.exponent or "no"
        raise BadAmount(f"has more decimals than {currency.code} has ({allowed})", field=field)
    minor = int(units + decimals.ljust(currency.exponent, "0"))
    if minor == 0:
        raise BadAmount("must be greater than zero", field=field)
    if minor > MAX_AMOUNT_MINOR:
        largest = format_minor(MAX_AMOUNT_MINOR, currency)
        raise BadAmount(f"must be at most {largest} {currency.code}", field=field)
    return minor


def format_minor(minor: int, currency: Currency) -> str:
    """Minor units as decimal text in major units at the currency's own exponent."""
    exponent = currency.exponent
    if exponent == 0:
        return str(minor)
    sign, digits = ("-", str(-minor)) if minor < 0 else ("", str(minor))
    if len(digits) <= exponent:
        digits = digits.zfill(exponent + 1)
    return f"{sign}{digits[:-exponent]}.{digits[-exponent:]}"


def allocate(amount_minor: int, weights: Sequence[int]) -> list[int]:
    """Split an amount in proportion to weights by largest remainder; the parts sum to it exactly.

    Ties go to the earlier weight. Where ``amount_minor`` is at most the sum of the weights, no
    part exceeds its weight, so remaining amounts can serve as weights.

    Raises:
        InvariantViolation: the amount or a weight is negative, or all weights are zero.
    """
    total = sum(weights)
    invariant(amount_minor >= 0 and total > 0, "a split needs an amount and a positive weight")
    invariant(all(weight >= 0 for weight in weights), "weights are not negative")
    parts, remainders = [], []
    for weight in weights:
        part, remainder = divmod(amount_minor * weight, total)
        parts.append(part)
        remainders.append(remainder)
    by_remainder = sorted(range(len(weights)), key=lambda index: -remainders[index])
    for index in by_remainder[: amount_minor - sum(parts)]:
        parts[index] += 1
    return parts
