"""Reads JSON strictly: what two parsers could understand differently is refused.

Refused are doubled keys at any depth, NaN and infinities, exponents, numbers too long to be meant,
NUL, lone surrogates, a byte order mark, and deep nesting. No number ever becomes a float: one with
a fraction is a `Decimal` with exactly the digits that were sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, NoReturn, TypeVar

from guilder.kernel.errors import BadRequest
from guilder.platform.http.fields import convert

T = TypeVar("T")

MAX_DEPTH: Final = 32
_MAX_DIGITS: Final = 40
# A string to its end, or to the end of the text where it has none.
_STRING: Final = re.compile(rb'"[^"]*"?')
_SQUARE: Final = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b'[]{}"'))
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
    # Before it is read: whoever reads what nests without end needs stack without end. Only arrays
    # and objects nest, so few brackets cannot be deep and need no closer look.
    if text.count("{") + text.count("[") > MAX_DEPTH and _nests_too_deep(body):
        raise BadRequest("The body is nested too deeply.")
    try:
        value = _decode(text)
    except json.JSONDecodeError:
        raise BadRequest("The body is not valid JSON.") from None
    if "\\u" in text:
        _refuse_odd_escapes(value)
    return value


def _nests_too_deep(body: bytes) -> bool:
    """Whether brackets nest in one another more than `MAX_DEPTH` times, those in strings aside.

    Nearly all of it is done by whole passes in C: a bulk request has thousands of brackets.
    """
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")  # no quote inside a string is left
    # What separates strings is gone: two quotes side by side end one and begin the next, or are an
    # empty one. Either way, to leave them out changes nothing of what else is inside a string.
    brackets = body.translate(_SQUARE, delete=_NO_BRACKETS).replace(b'""', b"")
    if b'"' in brackets:
        brackets = _STRING.sub(b"", brackets)
    too_many = b"[" * (MAX_DEPTH + 1)
    for _ in range(MAX_DEPTH):
        if too_many in brackets:
            return True
        brackets = brackets.replace(b"[]", b"")  # the innermost ones
    # What never closes is no JSON, and could be read safely up to a point.
    return b"[]" in brackets or brackets.count(b"[") > MAX_DEPTH


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
