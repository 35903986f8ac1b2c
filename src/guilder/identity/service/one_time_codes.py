"""Codes of six digits: made, kept as keyed digests, tried five times, used once.

A code belongs to a purpose and a subject: a name to sign in with, or an address of a user. What is
kept under is a pseudonym of both, so the store tells neither. A subject without a code is answered
like one with another code, and costs the same.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from uuid import UUID

from guilder.identity.api.codes import CODE_LIFE_S
from guilder.identity.service.code_stores import CodeStore
from guilder.identity.service.sealed_codes import new_code
from guilder.identity.store import codes as store
from guilder.platform.db import Tx
from guilder.platform.envelopes import OuterKeys

MOST_TRIES: Final = 5
PAUSE: Final = timedelta(seconds=30)
_KEPT: Final = timedelta(days=1)
PACES: Final[Mapping[int, timedelta]] = MappingProxyType(
    {1: PAUSE, 5: timedelta(hours=1), 20: _KEPT}
)
"""In which time how many are sent to one subject: each of them bears five guesses at a million."""


class Purpose(StrEnum):
    """What a code is for."""

    LOGIN = "login"
    EMAIL = "email"
    PHONE = "phone"
    PASSWORD_RESET = "password_reset"  # noqa: S105 - the name of a purpose, not a secret


class OneTimeCodes:
    """Makes codes and takes them."""

    def __init__(self, *, codes: CodeStore, keys: OuterKeys) -> None:
        self._codes = codes
        self._keys = keys

    async def wait_to_send(
        self, tx: Tx, purpose: Purpose, *, subject: str, attempt: UUID
    ) -> timedelta:
        """How long another code has to wait; zero: it counts as sent when this commits.

        Of one attempt that is repeated, because an answer was lost, only the first time counts.
        """
        return await store.issue(tx, self._name(purpose, subject), attempt=attempt, paces=PACES)

    async def make(self, purpose: Purpose, *, subject: str, epoch: int | None = None) -> str:
        """A new code, in place of the one there was. It is no code in another ``epoch``.

        Raises:
            Overloaded: the store does not answer.
        """
        code, name = new_code(), self._name(purpose, subject)
        await self._codes.put(name, secret=self._digest(name, code, epoch), life_s=CODE_LIFE_S)
        return code

    async def take(
        self, purpose: Purpose, *, subject: str, code: str, epoch: int | None = None
    ) -> bool:
        """Whether this is the code. A right one is used up; each call is one of five tries.

        ``epoch`` is the user's now: a code that was made in another is wrong.

        Raises:
            Overloaded: the store does not answer.
        """
        name = self._name(purpose, subject)
        digest = self._digest(name, code, epoch)
        secret, tries = await self._codes.guess(name, life_s=CODE_LIFE_S)
        if tries > MOST_TRIES or not hmac.compare_digest(secret, digest):
            return False
        return await self._codes.take(name, secret=secret)

    async def forget_sent(self, tx: Tx) -> None:
        """Forget what was sent long ago."""
        await store.forget_issues(tx, after=_KEPT)

    def _name(self, purpose: Purpose, subject: str) -> str:
        return pseudonym(purpose, subject, keys=self._keys)

    def _digest(self, name: str, code: str, epoch: int | None) -> bytes:
        within = "" if epoch is None else f"|{epoch}"
        return self._keys.pseudonym(f"code|{name}|{code}{within}").bytes


def pseudonym(purpose: Purpose, subject: str, *, keys: OuterKeys) -> str:
    """What stands for purpose and subject wherever they are named."""
    return f"{purpose.value}:{keys.pseudonym(f'code|{purpose.value}|{subject}')}"
