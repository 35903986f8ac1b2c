"""Changes audit's own keys: the one that signs heads, and the one that wraps persons' keys."""

from __future__ import annotations

import asyncio
from typing import Final
from uuid import UUID

import structlog

from guilder.audit.api import Rewrapped
from guilder.audit.service.vault import Vault
from guilder.audit.store import data_keys
from guilder.audit.store.data_keys import WrappedKey
from guilder.audit.store.heads_keys import HeadsKeys
from guilder.audit.store.publications import HeadsFolder
from guilder.platform.db import Database, Tx
from guilder.platform.envelopes import Unreadable
from guilder.platform.identifiers import new_id

_log = structlog.get_logger("guilder.audit")
_FIRST: Final = UUID(int=0)
_AT_ONCE: Final = 500


class RotateKeys:
    """Rotation of the keys of one database and one folder of heads."""

    def __init__(self, db: Database, *, folder: HeadsFolder, keys: HeadsKeys, vault: Vault) -> None:
        self._db = db
        self._folder = folder
        self._keys = keys
        self._vault = vault

    async def succeed_heads_key(self) -> str:
        """Make a key that signs heads from now on; its name. Servers notice with the next ones.

        Raises:
            KeyUnusable: a key file is damaged, or another passphrase's.
        """
        async with self._folder.locked():
            return (await asyncio.to_thread(self._keys.rotate)).kid

    async def rewrap(self) -> Rewrapped:
        """Wrap every person's key with a new outer key, or go on where it was cut short.

        Records are not touched: what persons' keys have encrypted stays as it is.

        Raises:
            KeyUnusable: a key file is damaged, or another passphrase's.
            Overloaded: the database does not answer.
        """
        newest = self._vault.newest_id
        if not await self._db.run(lambda tx: data_keys.wrapped_otherwise(tx, newest)):
            newest = self._vault.add_outer_key(new_id())
        persons = unreadable = 0
        after: UUID | None = _FIRST
        while after is not None:
            done, failed, after = await self._rewrap_some(newest, after=after)
            persons += done
            unreadable += failed
        return Rewrapped(persons=persons, unreadable=unreadable)

    async def _rewrap_some(self, newest: UUID, *, after: UUID) -> tuple[int, int, UUID | None]:
        async def work(tx: Tx) -> tuple[int, int, UUID | None]:
            found = await data_keys.lock_wrapped_otherwise(tx, newest, after=after, limit=_AT_ONCE)
            changed = [key for key in map(self._anew, found) if key is not None]
            await data_keys.rewrap(tx, changed)
            last = found[-1].person_id if found else None
            return len(changed), len(found) - len(changed), last

        return await self._db.run(work)

    def _anew(self, key: WrappedKey) -> WrappedKey | None:
        try:
            return self._vault.rewrapped(key)
        except Unreadable:
            _log.critical("audit.key_unreadable", person_id=str(key.person_id))
            return None
