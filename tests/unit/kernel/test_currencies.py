"""The list of currencies agrees with Unicode's, which is kept apart from ours."""

from __future__ import annotations

import pytest
from babel.core import get_global
from babel.numbers import get_currency_precision, list_currencies

from guilder.kernel.currencies import CURRENCIES, UnknownCurrency, currency

# CLDR says how many decimals to print, ISO 4217 how many there are; where nobody uses the minor
# unit any more the two differ.
PRINTED_WITHOUT_DECIMALS = {
    **dict.fromkeys(("AFN", "ALL", "IRR", "KPW", "LAK", "LBP", "MGA", "MMK"), 2),
    **dict.fromkeys(("RSD", "SOS", "SYP", "YER"), 2),
    "IQD": 3,
}


def test_every_currency_is_known_to_unicode():
    assert set(CURRENCIES) <= list_currencies()


@pytest.mark.parametrize("code", sorted(CURRENCIES))
def test_the_exponent_is_isos(code: str):
    ours, printed = CURRENCIES[code].exponent, get_currency_precision(code)

    if code in PRINTED_WITHOUT_DECIMALS:
        assert (ours, printed) == (PRINTED_WITHOUT_DECIMALS[code], 0)
    else:
        assert ours == printed


def test_what_people_pay_with_anywhere_today_is_there():
    tender = get_global("territory_currencies")
    current = {
        code
        for uses in tender.values()
        for code, _, until, is_tender in uses
        if until is None and is_tender
    }
    replaced = {"BGN"}  # Bulgaria pays in euros since 2026

    assert current - replaced <= set(CURRENCIES)


def test_a_code_is_found_in_capitals_only():
    assert currency("INR").minor_per_unit == 100
    assert str(currency("JPY")) == "JPY"
    for wrong in ("inr", "XXX", "", "INRX"):
        with pytest.raises(UnknownCurrency):
            currency(wrong)
