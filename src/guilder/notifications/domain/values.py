"""What a template's values have to be, so that they can be put into words for any reader."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from guilder.kernel.currencies import CURRENCIES
from guilder.kernel.money import BadAmount, parse_amount
from guilder.notifications.domain.notices import Values

_FIRST_YEAR: Final = 1900
_LAST_YEAR: Final = 9000
"""The years that requests may name; beyond, some time zones have no such moment."""


def problems(values: Values) -> dict[str, str]:
    """Why each of these amounts, currencies and times is none; nothing where all are."""
    found: dict[str, str] = {}
    if "currency" in values and values["currency"] not in CURRENCIES:
        found["currency"] = "is no currency"
    elif "amount" in values:
        try:
            parse_amount(values["amount"], CURRENCIES[values["currency"]])
        except BadAmount as error:
            found["amount"] = str(error).removeprefix("The amount ").removesuffix(".")
    if "at" in values and not _is_moment(values["at"]):
        found["at"] = "must be a time with its offset, as RFC 3339 writes it, of our age"
    return found


def _is_moment(text: str) -> bool:
    try:
        moment: datetime = msgspec.convert(text, Annotated[datetime, Meta(tz=True)])
    except msgspec.ValidationError:
        return False
    return _FIRST_YEAR <= moment.year <= _LAST_YEAR
