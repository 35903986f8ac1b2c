"""What others may know of personal data: how its keys are changed, and how people are erased."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from guilder.identity.api import AccountView
from guilder.identity.api.sessions import SessionView
from guilder.kernel.errors import Family, Refusal
from guilder.kernel.ids import UserId
from guilder.platform.db import Tx
from guilder.platform.erasures import ErasureList


class MoneyRemains(Refusal):
    """A wallet of theirs has money in it, or money is held: it is theirs, so they stay."""

    code = "MONEY_REMAINS"
    family = Family.CONFLICT
    message = "A wallet of this user has money in it, or money is held in it."


class LegalHold(Refusal):
    """The law wants their data: staff placed a hold on it, which staff must lift first."""

    code = "LEGAL_HOLD"
    family = Family.CONFLICT
    message = "A legal hold is on this user's data."


class RetainedByLaw(Refusal):
    """Their last payment is too recent. ``details["until"]`` says when the term is over."""

    code = "RETAINED_BY_LAW"
    family = Family.CONFLICT
    message = "This user's data has to be kept for a while after the last payment."

    def __init__(self, *, until: datetime) -> None:
        super().__init__(until=until.isoformat())


class StillStaff(Refusal):
    """They have a role beyond a customer's, which is to be taken from them first."""

    code = "STILL_STAFF"
    family = Family.CONFLICT
    message = "This user has a role of staff. Take it from them first."


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """What a change of keys did, in users. ``left`` could not be encrypted, and ``unfound`` not be
    entered in the new index: somebody else has their email or phone. While there are such, the
    index before stays, and the change is not over.
    """

    sealed: int
    reindexed: int
    rewrapped: int
    resealed: int
    left: int
    unfound: int = 0


class PersonalRotation(Protocol):
    """Changes the keys that personal data is encrypted and found with."""

    async def prepare(self, *, new_keys: bool = False) -> UUID:
        """Make the new keys, and change nothing yet: the id of both."""
        ...

    async def rotate(
        self, *, new_keys: bool = False, report: Callable[[str, int], None] | None = None
    ) -> Rotated:
        """Change all keys, or go on with the change that was interrupted.

        ``new_keys`` gives everybody a new key and encrypts all fields anew; otherwise each
        person's key is kept, and wrapped by the new outer key.
        """
        ...


class Estates(Protocol):
    """What the money core tells of somebody who is to be erased."""

    async def wind_up(self, tx: Tx, owner_id: UserId) -> datetime | None:
        """Close everything they hold, in the erasure's transaction; when money moved last.

        Raises:
            MoneyRemains: there is money in it, or money is held.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureTerms:
    """On which terms people are erased.

    ``estates`` close what they hold. They are kept for ``retention`` after their last payment.
    ``listed`` says outside the database who was erased.
    """

    estates: Estates
    retention: timedelta
    listed: ErasureList


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A legal hold: as long as it is there, nobody erases the user."""

    id: UUID
    user_id: UserId
    reason: str
    placed_by: UserId
    placed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WayIn:
    """Something that opens a person's account beside the password: ``kind`` says what."""

    kind: str
    name: str | None
    since: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What identity knows of a person, for themselves."""

    account: AccountView
    roles_since: tuple[tuple[str, datetime], ...]
    ways_in: tuple[WayIn, ...]
    sessions: tuple[SessionView, ...]


class Erasures(Protocol):
    """Erases people, for staff and the command line."""

    async def erase(self, user_id: UserId, *, reason: str, by: UserId | None) -> datetime:
        """Forget a user for good, and close what they hold; when. Repeating it changes nothing.

        Raises:
            UserNotFound: nobody ever had this id.
            StillStaff: they have a role of staff.
            LegalHold: staff placed a hold on their data.
            MoneyRemains: there is money in a wallet, or money is held.
            RetainedByLaw: their last payment is too recent.
        """
        ...
