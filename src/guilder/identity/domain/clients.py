"""Machine clients: their secrets, and what they may be given and ask for."""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Collection
from hashlib import sha256
from typing import Final

SECRET_BYTES: Final = 32
SECRET_PREFIX: Final = "guilder_secret_"  # noqa: S105 - so that scanners know a leaked one
MOST_CLIENTS: Final = 10
MOST_OVERLAP_S: Final = 7 * 24 * 3600
USUAL_OVERLAP_S: Final = 24 * 3600
FOR_PEOPLE: Final = frozenset(
    {
        "clients:read",
        "clients:write",
        "clients:read_any",
        "clients:write_any",
        "roles:write",
        "users:write",
        "users:freeze",
        "users:hold",
        "users:erase",
        "verifications:read",
    }
)
"""What no machine client is given: power over people, and to make others like itself."""

_SECRET: Final = re.compile(rf"{SECRET_PREFIX}[A-Za-z0-9_-]{{43}}")
_SCOPES: Final = re.compile(r"[!#-\[\]-~]+( [!#-\[\]-~]+)*")
_NOBODY: Final = bytes(32)


class Unreadable(Exception):
    """A client's credentials, or the scopes it asks for, are not written as they have to be."""


def spelled(secret: bytes) -> str:
    """A secret as its client keeps it."""
    return SECRET_PREFIX + urlsafe_b64encode(secret).decode("ascii").rstrip("=")


def digest(secret: str) -> bytes:
    """What is stored of a secret as it is spelled."""
    return sha256(secret.encode()).digest()


def matches(secret: str, *, digests: Collection[bytes]) -> bool:
    """Whether a secret is one of those stored; it takes as long for a client that nobody has."""
    shown = digest(secret)
    found = [hmac.compare_digest(shown, stored) for stored in (*digests, _NOBODY)]
    return any(found) and _SECRET.fullmatch(secret) is not None


def scope_problem(
    scopes: Collection[str], *, ones_own: Collection[str] = frozenset()
) -> str | None:
    """Why no client may have these scopes; None where one may.

    ``ones_own`` are those about what is one's own, for a client that acts for nobody: what it held
    would be nobody's once it is gone.
    """
    if not scopes:
        return "at least one is needed"
    if len(set(scopes)) != len(scopes):
        return "one is there twice"
    if FOR_PEOPLE & set(scopes):
        return "one is for people only"
    if set(ones_own) & set(scopes):
        return "one is about what is one's own, and a client of the house is nobody's"
    return None


def read_scopes(text: str) -> tuple[str, ...]:
    """The scopes in a space-separated list (RFC 6749, section 3.3), each once.

    Raises:
        Unreadable: it is none.
    """
    if _SCOPES.fullmatch(text) is None:
        raise Unreadable("the scope is not a list of words")
    return tuple(dict.fromkeys(text.split(" ")))
