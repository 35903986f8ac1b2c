"""Seals: a digest over a row's columns, so that `guilder verify` sees an edit made past Guilder."""

from __future__ import annotations

from hashlib import sha256
from struct import Struct
from typing import Final

LENGTH: Final = Struct(">i").pack
"""The four bytes before a text that say how many bytes it has."""


def seal(*fields: str | None) -> bytes:
    """SHA-256 over the fields in order, each as UTF-8 after its length; an absent one is -1.

    The database function ``platform.seal`` computes the same.
    """
    parts: list[bytes] = []
    for field in fields:
        if field is None:
            parts.append(LENGTH(-1))
        else:
            encoded = field.encode()
            parts += (LENGTH(len(encoded)), encoded)
    return sha256(b"".join(parts)).digest()
