"""Erasure: a person's key is destroyed, and with it what audit holds of them, in every backup."""

from __future__ import annotations

import asyncio
from uuid import UUID

from guilder.audit.events import PersonErased
from guilder.audit.service.vault import Vault
from guilder.audit.store import data_keys
from guilder.platform import outbox
from guilder.platform.db import Database, Tx
from guilder.platform.erasures import ErasureList, Listed
from guilder.platform.identifiers import new_id


class ErasePerson:
    """The `guilder.audit.api.Erasure` of one database and one list of erasures."""

    def __init__(self, db: Database, *, listed: ErasureList, vault: Vault) -> None:
        self._db = db
        self._listed = listed
        self._vault = vault

    def pseudonym_of(self, claimed: str) -> UUID:
        """Under which id failed sign-ins with this email or phone, or from this address, stand.

        Raises:
            KeyUnusable: the key of pseudonyms is damaged.
        """
        return self._vault.pseudonym(claimed)

    async def erase_person(self, person_id: UUID, *, reason: str) -> bool:
        """Make what audit holds of a person unreadable for good; whether that is new.

        It is written on the list outside the database first, so that it holds in a restored one.

        Raises:
            Overloaded: the database does not answer; the worker does it later.
        """
        line = Listed(person_id=person_id, reason=reason)
        await asyncio.to_thread(self._listed.add, line)
        return await self._db.run(lambda tx: _erase(tx, line))

    async def erase_with(self, tx: Tx, person_id: UUID, *, reason: str) -> None:
        """The same in the transaction in which it is heard that somebody was erased elsewhere."""
        line = Listed(person_id=person_id, reason=reason)
        await asyncio.to_thread(self._listed.add, line)
        await _erase(tx, line)

    async def erase_listed(self) -> int:
        """Erase whoever is on the list and readable, as in a restored database; how many.

        Raises:
            KeyUnusable: a line of the list is damaged.
        """
        lines = {line.person_id: line for line in await asyncio.to_thread(self._listed.read)}
        if not lines:
            return 0

        async def work(tx: Tx) -> int:
            done = await data_keys.erased(tx, lines)
            return sum(
                [await _erase(tx, lines[person_id]) for person_id in lines if person_id not in done]
            )

        return await self._db.run(work)


async def _erase(tx: Tx, line: Listed) -> bool:
    erased_at = await data_keys.erase(tx, line.person_id, spare_id=new_id())
    if erased_at is None:
        return False
    fact = PersonErased(person_id=line.person_id, reason=line.reason, erased_at=erased_at)
    await outbox.append(tx, [outbox.outgoing(fact, key=str(line.person_id))])
    return True
