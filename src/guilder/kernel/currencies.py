"""The active currencies of ISO 4217 and their exponents (how many decimals their minor unit has).

Source: ISO 4217 list one, 2026. What it marks as funds (CLF, USN, ...), metals and test codes are
left out: nobody holds a wallet in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from guilder.kernel.errors import ValidationFailed


@dataclass(frozen=True, slots=True)
class Currency:
    """An ISO 4217 currency: its alphabetic code and its exponent (2: one unit is 100 minor)."""

    code: str
    exponent: int

    @property
    def minor_per_unit(self) -> int:
        """How many minor units make one major unit."""
        return int(10**self.exponent)

    def __str__(self) -> str:
        return self.code


class UnknownCurrency(ValidationFailed):
    """Not the code of an active ISO 4217 currency, funds and metals left out."""

    message = "The currency is not the code of an active ISO 4217 currency."


_CODES_BY_EXPONENT: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF",
    2: (
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD "
        "CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD "
        "GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL "
        "MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN "
        "PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP "
        "SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG"
    ),
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "UYW",
}

CURRENCIES: Final[dict[str, Currency]] = {
    code: Currency(code, exponent)
    for exponent, codes in _CODES_BY_EXPONENT.items()
    for code in codes.split()
}

INR: Final = CURRENCIES["INR"]


def currency(code: str) -> Currency:
    """The currency with this code, written in capitals as ISO 4217 does.

    Raises:
        UnknownCurrency: there is no active currency of this code.
    """
    try:
        return CURRENCIES[code]
    except KeyError:
        raise UnknownCurrency(fields={"currency": "is not an active ISO 4217 code"}) from None
