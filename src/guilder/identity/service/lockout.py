"""Sign-ins back off: who guesses at a name waits, and so does whoever has it, on a new device.

Failures are counted per name and address, per name from anywhere, and per address; those of codes
per name from anywhere, in a count of their own, and per address. All of it is
kept for names that nobody has, too, in the same way, so no answer tells whether a user exists. A
device that was remembered after a sign-in is counted by itself: no stranger's failures hold it up.
An attempt counts as failed when it begins, so parallel guesses are no way around.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from guilder.identity.api.sessions import TooManySignIns
from guilder.identity.domain import lockout as rules
from guilder.identity.domain.lockout import Backoff, Backoffs, Failures, Guessing
from guilder.identity.domain.sessions import digest, read_device_token
from guilder.identity.store import devices
from guilder.identity.store import lockout as store
from guilder.identity.store.users import database_time
from guilder.kernel.ids import UserId
from guilder.platform.db import Database, Tx
from guilder.platform.envelopes import OuterKeys
from guilder.platform.households import household_of
from guilder.platform.once import run_once

_PURGED_AT_ONCE: Final = 1000
_CODES: Final = frozenset({Guessing.CODE, Guessing.CONTACT_CODE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A sign-in that was let in, and by what its failure is counted."""

    counted: Mapping[UUID, Backoff]
    address: UUID | None
    """What is counted only once it has failed; None for a remembered device."""
    is_counted_there: bool = False
    """Whether the address has counted it as failed already."""
    failures: int = 0
    """How many have failed in a row for what is counted, this one being the last."""


class Lockout:
    """Lets sign-ins in, or says how long to wait."""

    def __init__(self, *, db: Database, keys: OuterKeys, backoffs: Backoffs | None = None) -> None:
        self._db = db
        self._keys = keys
        self._backoffs = backoffs or Backoffs()

    async def admit(
        self,
        tx: Tx,
        *,
        guessing: Guessing,
        name: str,
        client_address: str,
        device_id: UUID | None = None,
    ) -> Attempt:
        """Let an attempt on ``name`` in, counted as failed until it is said to have succeeded.

        A code counts for its address as well from its beginning: it costs so little to check that
        any number of them could be under way before the first has failed.

        ``device_id`` is a remembered device of the very user who is named.

        Raises:
            TooManySignIns: it has to wait. It does not count then.
        """
        attempt = self._attempt(guessing, name, address=client_address, device_id=device_id)
        there = attempt.address
        is_read = there is not None and not attempt.is_counted_there
        address = await store.read(tx, there) if there is not None and is_read else None
        known = await self._locked(tx, attempt)
        at = await database_time(tx)
        left = max(rules.wait(failures, at=at) for failures in (address, *known.values()))
        if left:
            raise TooManySignIns(retry_after_s=math.ceil(left.total_seconds()))
        more = {
            key: rules.one_more(known.get(key), at=at, backoff=backoff)
            for key, backoff in attempt.counted.items()
        }
        if there is not None and attempt.is_counted_there:
            more[there] = self._backoffs.address.one_more(known.get(there), at=at)
        await store.put(tx, more)
        return replace(attempt, failures=max(more[key].count for key in attempt.counted))

    async def failed(self, attempt: Attempt) -> None:
        """The attempt has failed: its address has one failure more, unless it has it already."""
        address, allowance = attempt.address, self._backoffs.address
        if attempt.is_counted_there:
            return

        async def work(tx: Tx) -> None:
            if address is not None:
                known = await store.lock(tx, [address])
                at = await database_time(tx)
                more = allowance.one_more(known.get(address), at=at)
                await store.put(tx, {address: more})

        await run_once(self._db, work)

    async def succeeded(self, attempt: Attempt) -> None:
        """The name was proved by whoever has it: what failed before is forgotten."""

        async def work(tx: Tx) -> None:
            known = await self._locked(tx, attempt)
            cleared = Failures(count=0, last_at=await database_time(tx), blocked_until=None)
            put = dict.fromkeys(known.keys() & attempt.counted.keys(), cleared)
            await store.put(tx, {**put, **self._given_back(attempt, known)})

        await run_once(self._db, work)

    async def withdrawn(self, attempt: Attempt) -> None:
        """The attempt was never judged, so it does not count."""

        async def work(tx: Tx) -> None:
            known = await self._locked(tx, attempt)
            at = await database_time(tx)
            fewer = {
                key: _one_less(known[key], at=at, backoff=backoff)
                for key, backoff in attempt.counted.items()
                if key in known
            }
            await store.put(tx, {**fewer, **self._given_back(attempt, known)})

        await run_once(self._db, work)

    async def purge(self) -> None:
        """Forget failures that count no more."""
        every = self._backoffs
        kept = max(
            backoff.forgets for backoff in (every.name_here, every.name, every.device, every.code)
        )

        async def work(tx: Tx) -> int:
            return await store.purge(tx, kept_s=kept.total_seconds(), limit=_PURGED_AT_ONCE)

        while await self._db.run(work) == _PURGED_AT_ONCE:
            pass

    async def _locked(self, tx: Tx, attempt: Attempt) -> Mapping[UUID, Failures]:
        """All that counted the attempt when it began, locked at once, in the order of everybody."""
        there = [attempt.address] if attempt.address and attempt.is_counted_there else []
        return await store.lock(tx, [*attempt.counted, *there])

    def _given_back(
        self, attempt: Attempt, known: Mapping[UUID, Failures]
    ) -> Mapping[UUID, Failures]:
        """What the address keeps when an attempt that it counted has not failed."""
        address = attempt.address
        if address is None or address not in known:
            return {}
        return {address: self._backoffs.address.one_less(known[address])}

    def _attempt(
        self, guessing: Guessing, name: str, *, address: str, device_id: UUID | None
    ) -> Attempt:
        if device_id is not None:
            key = self._keys.pseudonym(f"sign-in|device|{device_id}")
            return Attempt(counted={key: self._backoffs.device}, address=None)
        if guessing in _CODES:
            key = self._keys.pseudonym(f"{guessing}|name|*|{name}")
            return Attempt(
                counted={key: self._backoffs.code},
                address=self._address(address),
                is_counted_there=True,
            )
        household = household_of(address)
        here = self._keys.pseudonym(f"{guessing}|name|{household}|{name}")
        anywhere = self._keys.pseudonym(f"{guessing}|name|*|{name}")
        return Attempt(
            counted={here: self._backoffs.name_here, anywhere: self._backoffs.name},
            address=self._address(address),
        )

    def _address(self, client_address: str) -> UUID:
        return self._keys.pseudonym(f"sign-in|address|{household_of(client_address)}")


async def remembered_device(
    tx: Tx, device_token: str | None, *, user_id: UserId | None
) -> UUID | None:
    """The device that was remembered by this token, if it was after a sign-in of this very user."""
    secret = read_device_token(device_token or "")
    known = None if secret is None else await devices.remembered(tx, digest(secret))
    if known is None or known[1] != user_id:
        return None
    return known[0]


def _one_less(failures: Failures, *, at: datetime, backoff: Backoff) -> Failures:
    count = max(0, failures.count - 1)
    pause = backoff.pause(count)
    return Failures(
        count=count, last_at=failures.last_at, blocked_until=at + pause if pause else None
    )
