"""The kinds of fields that requests have, and the words for what is wrong with one.

Reasons name the rule and never repeat what was sent.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta

from guilder.kernel.errors import ValidationFailed

T = TypeVar("T")

# Control characters, line and paragraph separators, and the marks that reorder what is shown: a
# name with one of them looks like something that it is not.
_UNSEEN: Final = r"\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff"
_LINE: Final = rf"^[^\s{_UNSEEN}](?:[^{_UNSEEN}]*[^\s{_UNSEEN}])?\Z"
_TEXT: Final = rf"^[^{_UNSEEN}]*\Z"

Name = Annotated[str, Meta(min_length=1, max_length=120, pattern=_LINE)]
"""One line that names somebody or something."""

Label = Annotated[str, Meta(min_length=1, max_length=64, pattern=_LINE)]
"""One short line."""

Description = Annotated[str, Meta(max_length=500, pattern=_TEXT)]
"""One line that somebody wrote for somebody else to read, or nothing."""

CurrencyCode = Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")]
"""An ISO 4217 code as it is written; whether Guilder knows it is for the kernel to say."""


class Amount(str):
    """An amount in major units as the digits that were sent, from JSON text or a JSON number.

    Whether it is an amount of some currency is for `guilder.kernel.money.parse_amount` to say.
    """

    __slots__ = ()


class SignedAmount(Amount):
    """The same where an amount may be negative, as a balance may."""

    __slots__ = ()


class Moment(datetime):
    """A point in time, sent in RFC 3339 with its offset and kept in UTC."""


_FIRST_YEAR: Final = 1900
_LAST_YEAR: Final = 9000
_MAX_AMOUNT_TEXT: Final = 40

AwareTime = Annotated[datetime, Meta(tz=True)]


class _Unfit(ValueError):
    """A value does not fit a field; says why in our words."""


def field_hook(type_: type[Any], value: Any) -> Any:
    """Make `Amount` and `Moment` from what JSON has; for msgspec's ``dec_hook``."""
    if issubclass(type_, Amount):
        return type_(_digits(value, _AMOUNT_REASONS[type_]))
    if type_ is Moment:
        return _moment(value)
    raise NotImplementedError(f"no request has a field of type {type_!r}")


_AMOUNT_REASONS: Final = {
    Amount: "must be a positive decimal number such as 10.50",
    SignedAmount: "must be a decimal number such as 10.50 or -10.50",
}


def _digits(value: Any, reason: str) -> str:
    if type(value) is str:
        if len(value) > _MAX_AMOUNT_TEXT or not value.isascii():
            raise _Unfit(reason)
        return value
    if type(value) is int:
        return str(value)
    if type(value) is Decimal:
        return format(value, "f")
    raise _Unfit("must be a string or a number")


def _moment(value: Any) -> Moment:
    try:
        sent = msgspec.convert(value, AwareTime)
    except msgspec.ValidationError:
        raise _Unfit(_TIME_REASON) from None
    # The database's times end sooner than Python's, and an offset can push one over the edge.
    if not _FIRST_YEAR <= sent.year <= _LAST_YEAR:
        raise _Unfit(f"must lie between the years {_FIRST_YEAR} and {_LAST_YEAR}")
    utc = sent.astimezone(UTC)
    return Moment.combine(utc.date(), utc.timetz())


def convert(value: Any, type_: type[T], *, from_text: bool = False) -> T:
    """Check plain values against a struct. ``from_text`` also reads numbers and flags from text.

    Raises:
        ValidationFailed: ``details["fields"]`` names every field that does not fit, and why.
    """
    try:
        return msgspec.convert(value, type_, strict=not from_text, dec_hook=field_hook)
    except msgspec.ValidationError as error:
        raise _failure(value, type_, error, from_text=from_text) from None


def _failure(
    value: Any, type_: type[Any], error: msgspec.ValidationError, *, from_text: bool
) -> ValidationFailed:
    if not isinstance(value, dict) or not issubclass(type_, msgspec.Struct):
        return ValidationFailed(f"The request {_reason(error)}.")
    reasons: dict[str, str] = {}
    known = {field.encode_name: field for field in msgspec.structs.fields(type_)}
    for name, field in known.items():
        if name not in value:
            if field.required:
                reasons[name] = "is required"
            continue
        try:
            msgspec.convert(value[name], field.type, strict=not from_text, dec_hook=field_hook)
        except msgspec.ValidationError as wrong:
            reasons[name + _inside(wrong)] = _reason(wrong)
    for name in value:
        if name not in known:
            reasons[_shown(name)] = "is not known here"
    return ValidationFailed(fields=reasons)


_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}", re.ASCII)


def _shown(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else "?"


_WHERE: Final = re.compile(r" - at `(?:key in )?\$([A-Za-z0-9_.\[\]]*)")


def _inside(error: msgspec.ValidationError) -> str:
    """Where inside the field it went wrong: ``[3].amount``; the keys of maps stay unnamed."""
    found = _WHERE.search(str(error))
    return found[1] if found else ""


_TIME_REASON: Final = "must be a time with its offset, as RFC 3339 writes it"
_WORDS: Final = {
    "str": "a string",
    "int": "a whole number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "uuid": "a UUID",
    "null": "null",
    "decimal": "a decimal number",
    "float": "a number",
    "datetime": "a time",
    "date": "a date",
}
_EXPECTED: Final = re.compile(r"Expected `([a-z| ]+)`(, got)?")
_LENGTH: Final = re.compile(r"Expected `(str|array|object)` of length (<=|>=|==) ([0-9]+)")
_BOUND: Final = re.compile(r"Expected `(?:int|decimal|float)` (<=|>=|<|>) (-?[0-9.]+)")
_BOUND_WORDS: Final = {"<=": "at most", ">=": "at least", "<": "less than", ">": "more than"}
_INVALID: Final = {
    "Invalid UUID": "must be a UUID",
    "Invalid RFC3339": _TIME_REASON,
    "Invalid enum value": "is not one of the values allowed here",
    "Invalid decimal": "must be a decimal number",
    "Object contains unknown field": "has a field that is not known here",
    "Object missing required field": "lacks a required field",
    "Expected `str` matching regex": "has characters that are not allowed here, or not this form",
}


def _reason(error: msgspec.ValidationError) -> str:
    """msgspec's complaint in words for people, without the value that it may quote."""
    if isinstance(error.__cause__, _Unfit):
        return str(error.__cause__)
    text = str(error)
    for start, reason in _INVALID.items():
        if text.startswith(start):
            return reason
    if length := _LENGTH.match(text):
        unit = "characters" if length[1] == "str" else "entries"
        how = {"<=": "at most", ">=": "at least", "==": "exactly"}[length[2]]
        return f"must have {how} {length[3]} {unit}"
    if bound := _BOUND.match(text):
        return f"must be {_BOUND_WORDS[bound[1]]} {bound[2]}"
    if expected := _EXPECTED.match(text):
        kinds = [_WORDS.get(kind, "of another kind") for kind in expected[1].split(" | ")]
        return f"must be {' or '.join(kinds)}"
    return "is not valid"
