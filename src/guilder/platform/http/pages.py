"""Keyset pages: a cursor says after which position a list goes on, for the same filters only."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta

from guilder.kernel.errors import Refusal, ValidationFailed
from guilder.platform.http.body import parse
from guilder.platform.http.route import Answer

P = TypeVar("P")
D = TypeVar("D")
T = TypeVar("T")

_DIGEST_BYTES: Final = 8
_MAX_TEXT: Final = 1024

_encode: Final = msgspec.json.Encoder(enc_hook=str, order="deterministic").encode

Position = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""A sequence number inside a cursor: what a ``bigint`` column can be compared with."""


class Page(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """The query of a list: how many, and after which cursor. Lists with filters extend it."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    cursor: Annotated[str, Meta(max_length=_MAX_TEXT)] | None = None

    @property
    def asked(self) -> int:
        """How many to look for: one more than are shown, which tells whether there is more."""
        return self.limit + 1

    def position(self, type_: type[P], *, filters: Mapping[str, object], otherwise: D) -> P | D:
        """Where the list goes on; ``otherwise`` where it begins.

        Raises:
            BadCursor: the cursor is malformed, or was made for other filters.
        """
        if self.cursor is None:
            return otherwise
        return decode_cursor(self.cursor, type_, filters=filters)

    def answer(
        self,
        found: Sequence[T],
        *,
        filters: Mapping[str, object],
        position: Callable[[T], object],
        body: Callable[[T], object],
    ) -> Answer:
        """One page of what was found when ``asked`` were looked for, and where it goes on."""
        shown = found[: self.limit]
        is_last = len(found) == len(shown)
        cursor = None if is_last else encode_cursor(position(shown[-1]), filters=filters)
        return Answer(data=[body(one) for one in shown], meta=page_meta(cursor))


class BadCursor(ValidationFailed):
    """The cursor was not made for this list with these filters."""

    message = "The cursor does not belong to this list."

    def __init__(self) -> None:
        super().__init__(None, fields={"cursor": "does not belong to this list"})


def encode_cursor(position: Any, *, filters: Mapping[str, object]) -> str:
    """A cursor for ``position`` (a tuple or struct), bound to the list's filters and owner."""
    return urlsafe_b64encode(_digest(filters) + _encode(position)).decode("ascii").rstrip("=")


def decode_cursor(cursor: str, type_: type[P], *, filters: Mapping[str, object]) -> P:
    """The position in a cursor, checked to be a ``type_``.

    A cursor is not signed: it says where to go on, never whose rows may be seen. Use `Position`
    and `guilder.platform.http.fields.Moment` inside ``type_``, so that every value is one that
    the database can compare.

    Raises:
        BadCursor: it is malformed, or was made for other filters.
    """
    try:
        raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
    except (UnicodeEncodeError, Base64Error, ValueError):
        raise BadCursor from None
    canonical = urlsafe_b64encode(raw).decode("ascii").rstrip("=")
    if canonical != cursor or raw[:_DIGEST_BYTES] != _digest(filters):
        raise BadCursor
    try:
        return parse(raw[_DIGEST_BYTES:], type_)
    except Refusal:
        raise BadCursor from None


def page_meta(next_cursor: str | None) -> dict[str, object]:
    """The ``meta`` of a list; ``next_cursor`` is None on its last page."""
    return {"next_cursor": next_cursor, "has_more": next_cursor is not None}


def _digest(filters: Mapping[str, object]) -> bytes:
    return sha256(_encode(filters)).digest()[:_DIGEST_BYTES]
