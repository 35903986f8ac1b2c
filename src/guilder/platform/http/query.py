"""Reads query strings strictly: unknown, doubled and unreadable parameters are refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec

from guilder.kernel.errors import BadRequest, ValidationFailed
from guilder.platform.http.fields import convert

Q = TypeVar("Q", bound=msgspec.Struct)

_MAX_LENGTH: Final = 4096
_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_MAX_INTEGER: Final = 2**63 - 1


def parse_query(query_string: bytes, type_: type[Q], *, is_open: bool = False) -> Q:
    """Read a query string into a struct. Numbers and flags are read from their plain text.

    Where it ``is_open``, parameters that the struct does not have are left aside.

    Raises:
        BadRequest: it is too long, not UTF-8, or broken in its escapes.
        ValidationFailed: a parameter is unknown, there twice, or does not fit.
    """
    text = read_query(query_string)
    if is_open:
        known = {field.encode_name for field in msgspec.structs.fields(type_)}
        text = {name: value for name, value in text.items() if name in known}
    query = convert(text, type_, from_text=True)
    read = ((name, _misread(getattr(query, name), sent)) for name, sent in text.items())
    reasons = {name: reason for name, reason in read if reason is not None}
    if reasons:
        raise ValidationFailed(fields=reasons)
    return query


def refuse_query(query_string: bytes) -> None:
    """Refuse a query string where none is expected.

    Raises:
        ValidationFailed: there is one.
    """
    if query_string:
        names = read_query(query_string)
        raise ValidationFailed(fields=dict.fromkeys(names, "is not known here"))


def read_query(query_string: bytes) -> Mapping[str, str]:
    """The parameters as text by name.

    Raises:
        BadRequest: it is too long, not UTF-8, or broken in its escapes.
        ValidationFailed: a parameter is there twice.
    """
    if not query_string:
        return {}
    if len(query_string) > _MAX_LENGTH or _BROKEN_ESCAPE.search(query_string):
        raise BadRequest("The query string could not be read.")
    read: dict[str, str] = {}
    for pair in query_string.split(b"&"):
        name, _, value = pair.partition(b"=")
        key = _text(name)
        if key in read:
            raise ValidationFailed(fields={"query": "has the same parameter twice"})
        read[key] = _text(value)
    return read


def _misread(value: object, text: str) -> str | None:
    """What is wrong with a value that msgspec reads more kindly than people mean it."""
    if value is None:
        # It takes the text "null" for nothing, and a filter would silently be none.
        return "is not valid"
    if type(value) is int and (text != str(value) or abs(value) > _MAX_INTEGER):
        return "must be a whole number"
    return None


def _text(escaped: bytes) -> str:
    try:
        text = unquote_to_bytes(escaped.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest("The query string is not valid UTF-8.") from None
    if "\0" in text:
        raise BadRequest("The query string has a NUL character.")
    return text
