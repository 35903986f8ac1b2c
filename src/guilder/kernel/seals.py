"""Seals: a digest over a row's columns, so that `guilder verify` sees an edit made past Guilder."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from struct import Struct
from typing import Final

LENGTH: Final = Struct(">i").pack
"""The four bytes before a text that say how many bytes it has."""

_ABSENT: Final = LENGTH(-1)
_SHORT: Final = tuple(LENGTH(length) for length in range(256))
"""Of nearly every text; looked up in a fifth of the time."""


def seal(*fields: str | None) -> bytes:
    """SHA-256 over the fields in order, each as UTF-8 after its length; an absent one is -1.

    The database function ``platform.seal`` computes the same.
    """
    parts: list[bytes] = []
    for field in fields:
        if field is None:
            parts.append(_ABSENT)
        else:  # as `sized` does, without a call for each
            encoded = field.encode()
            length = len(encoded)
            parts += (_SHORT[length] if length < len(_SHORT) else LENGTH(length), encoded)
    return sha256(b"".join(parts)).digest()


def sized(text: str | None) -> bytes:
    """A text as UTF-8 after its length; an absent one is a length of -1."""
    if text is None:
        return _ABSENT
    encoded = text.encode()
    length = len(encoded)
    return (_SHORT[length] if length < len(_SHORT) else LENGTH(length)) + encoded


@lru_cache(maxsize=1024)
def sized_word(text: str) -> bytes:
    """`sized`, of a text that many rows have in common: a kind, a currency."""
    return sized(text)
