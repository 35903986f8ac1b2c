"""Floors: the lowest balance an account may have, and the record of how it changed.

With that record `guilder verify` can hold each entry against the floor of its own time.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from guilder.kernel.ids import AccountId


class FloorChange(Struct, frozen=True, kw_only=True):
    """From the entry after ``after_sequence`` on, the account's floor is ``floor_minor``.

    ``number`` counts the changes of one account from 1.
    """

    account_id: AccountId
    number: int
    after_sequence: int
    previous_floor_minor: int | None
    floor_minor: int | None
    changed_at: datetime
