"""Denials: requests that were refused because of who sent them, handed on to whoever keeps them.

Noting one costs next to nothing and never fails; what becomes of it is the keeper's matter.
"""

from __future__ import annotations

from typing import Final, Protocol

from msgspec import Struct

from guilder.kernel.errors import Family, Refusal
from guilder.kernel.ids import UserId
from guilder.platform.origin import NOWHERE, Origin

DENYING: Final = frozenset({Family.UNAUTHENTICATED, Family.FORBIDDEN})
"""The families of refusals that are denials: nobody knows who it is, or who it is may not."""


def is_denial(refusal: Refusal) -> bool:
    """Whether a refusal was given because of who asked."""
    return refusal.family in DENYING or refusal.turns_away


class Denial(Struct, frozen=True, kw_only=True, gc=False):
    """One request that was denied. ``route`` is a template, never the path with its ids."""

    code: str
    method: str
    route: str
    origin: Origin = NOWHERE
    person_id: UserId | None = None
    """The customer behind the caller, or whose name was tried; None where that is nobody known."""
    client_address: str = ""
    claimed: str | None = None
    """Whom the caller said to be, unproven: the email or phone of a failed sign-in."""


class Denials(Protocol):
    """Takes note of denials."""

    def note(self, denial: Denial) -> None:
        """Keep it, or count it where there are too many. Returns at once."""
        ...


class NotKept:
    """Lets denials pass unnoted, where nobody keeps them."""

    def note(self, denial: Denial) -> None:
        """Nothing happens."""
