"""Reads JSON strictly: what two parsers could understand differently is refused.

Refused are doubled keys at any depth, NaN and infinities, exponents, numbers too long to be meant,
NUL, lone surrogates, a byte order mark, and deep nesting. No number ever becomes a float: one with
a fraction is a `Decimal` with exactly the digits that were sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, Final, NoReturn, TypeVar

from guilder.kernel.errors import BadRequest
from guilder.platform.http.fields import convert

T = TypeVar("T")

MAX_DEPTH: Final = 32
_MAX_DIGITS: Final = 40
_NESTS: Final = (dict, list)
_TOO_DEEP: Final = "The body is nested too deeply."
_MAX_INTEGER: Final = 2**63 - 1


def parse(body: bytes, type_: type[T]) -> T:
    """Read ``body`` as JSON and check it against ``type_``, without coercing anything.

    Raises:
        BadRequest: it is no JSON, or JSON that could be understood in two ways.
        ValidationFailed: it is JSON and does not fit; ``details["fields"]`` says where and why.
    """
    return convert(read_json(body), type_)


def read_json(body: bytes) -> Any:
    """``body`` as plain Python values, numbers with a fraction as `Decimal`.

    Raises:
        BadRequest: it is no JSON, or JSON that could be understood in two ways.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest("The body is not valid UTF-8.") from None
    try:
        value = _decode(text)
    except json.JSONDecodeError:
        raise BadRequest("The body is not valid JSON.") from None
    except RecursionError:
        raise BadRequest(_TOO_DEEP) from None
    # Only arrays and objects nest, so few brackets cannot be deep and need no closer look.
    if text.count("{") + text.count("[") > MAX_DEPTH and _is_too_deep(value):
        raise BadRequest(_TOO_DEEP)
    if "\\u" in text:
        _refuse_odd_escapes(value)
    return value


def _is_too_deep(value: Any) -> bool:
    """Whether arrays and objects nest in one another more than `MAX_DEPTH` times."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _inside(outer) if isinstance(inner, _NESTS)]
    return bool(level)


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _refuse_odd_escapes(value: Any) -> None:
    if isinstance(value, str):
        _refuse_odd_text(value)
    elif isinstance(value, list):
        for item in value:
            _refuse_odd_escapes(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            _refuse_odd_text(name)
            _refuse_odd_escapes(item)


def _refuse_odd_text(text: str) -> None:
    if "\0" in text:
        raise BadRequest("The body has a NUL character.")
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise BadRequest("The body has half of a surrogate pair.") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) != len(pairs):
        raise BadRequest("The body has the same name twice in one object.")
    return read


def _integer(text: str) -> int:
    # The length first: reading a number of a million digits is itself the attack.
    if len(text) > _MAX_DIGITS or not -_MAX_INTEGER <= int(text) <= _MAX_INTEGER:
        raise BadRequest("The body has a number that is too long.")
    return int(text)


def _fraction(text: str) -> Decimal:
    if len(text) > _MAX_DIGITS:
        raise BadRequest("The body has a number that is too long.")
    if "e" in text or "E" in text:
        raise BadRequest("Numbers are written without an exponent.")
    return Decimal(text)


def _constant(_: str) -> NoReturn:
    raise BadRequest("NaN and infinities are no numbers in JSON.")


_decode: Final[Callable[[str], Any]] = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_integer,
    parse_float=_fraction,
    parse_constant=_constant,
).decode
