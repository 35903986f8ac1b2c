"""Sign-ins back off: who guesses at a name waits, and whoever has the name is not shut out.

Failures are counted per name and address, per name from anywhere, and per address. All of it is
kept for names that nobody has, too, in the same way, so no answer tells whether a user exists. A
device that was remembered after a sign-in is counted by itself: no stranger's failures hold it up.
An attempt counts as failed when it begins, so parallel guesses are no way around.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from guilder.identity.api.sessions import TooManySignIns
from guilder.identity.domain import lockout as rules
from guilder.identity.domain.lockout import Backoff, Backoffs, Failures, Guessing
from guilder.identity.store import lockout as store
from guilder.identity.store.users import database_time
from guilder.platform.db import Database, Tx
from guilder.platform.envelopes import OuterKeys

_PURGED_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A sign-in that was let in, and by what its failure is counted."""

    counted: Mapping[UUID, Backoff]
    address: UUID | None
    """What is counted only once it has failed; None for a remembered device."""
    is_counted_there: bool = False
    """Whether the address has counted it as failed already."""


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

        ``device_id`` is a remembered device of the very user who is named.

        Raises:
            TooManySignIns: it has to wait. It does not count then.
        """
        attempt = self._attempt(guessing, name, address=client_address, device_id=device_id)
        address = None if attempt.address is None else await store.read(tx, attempt.address)
        known = await store.lock(tx, list(attempt.counted))
        at = await database_time(tx)
        held_up_by = [address, *(known.get(key) for key in attempt.counted)]
        left = max(rules.wait(failures, at=at) for failures in held_up_by)
        if left:
            raise TooManySignIns(retry_after_s=math.ceil(left.total_seconds()))
        await store.put(
            tx,
            {
                key: rules.one_more(known.get(key), at=at, backoff=backoff)
                for key, backoff in attempt.counted.items()
            },
        )
        return attempt

    async def admit_from(self, tx: Tx, *, client_address: str) -> Attempt:
        """Let an attempt in that only its address is held up by: its name has tries of its own.

        It counts as failed there until it is said to have succeeded: such an attempt costs so
        little that any number of them could be under way before the first has failed.

        Raises:
            TooManySignIns: too much has failed from there. It does not count then.
        """
        address = self._address(client_address)
        known = (await store.lock(tx, [address])).get(address)
        at = await database_time(tx)
        left = rules.wait(known, at=at)
        if left:
            raise TooManySignIns(retry_after_s=math.ceil(left.total_seconds()))
        await store.put(tx, {address: self._backoffs.address.one_more(known, at=at)})
        return Attempt(counted={}, address=address, is_counted_there=True)

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

        await self._db.run(work)

    async def succeeded(self, attempt: Attempt) -> None:
        """The name was proved by whoever has it: what failed before is forgotten."""

        async def work(tx: Tx) -> None:
            known = await self._locked(tx, attempt)
            cleared = Failures(count=0, last_at=await database_time(tx), blocked_until=None)
            put = dict.fromkeys(known.keys() & attempt.counted.keys(), cleared)
            await store.put(tx, {**put, **self._given_back(attempt, known)})

        await self._db.run(work)

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

        await self._db.run(work)

    async def purge(self) -> None:
        """Forget failures that count no more."""
        every = self._backoffs
        kept = max(backoff.forgets for backoff in (every.name_here, every.name, every.device))

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
        origin = rules.origin_of(address)
        here = self._keys.pseudonym(f"{guessing}|name|{origin}|{name}")
        anywhere = self._keys.pseudonym(f"{guessing}|name|*|{name}")
        return Attempt(
            counted={here: self._backoffs.name_here, anywhere: self._backoffs.name},
            address=self._address(address),
        )

    def _address(self, client_address: str) -> UUID:
        return self._keys.pseudonym(f"sign-in|address|{rules.origin_of(client_address)}")


def _one_less(failures: Failures, *, at: datetime, backoff: Backoff) -> Failures:
    count = max(0, failures.count - 1)
    pause = backoff.pause(count)
    return Failures(
        count=count, last_at=failures.last_at, blocked_until=at + pause if pause else None
    )
