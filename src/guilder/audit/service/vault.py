"""Encrypts personal data with the key of the person it is about, and reads it while that lasts.

Keys are looked up anew for every batch and never kept: an erasure counts at once, in every process.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog

from guilder.audit.store import data_keys
from guilder.platform.db import Tx
from guilder.platform.envelopes import (
    KEY_BYTES,
    OuterKeys,
    SealingKey,
    Unreadable,
    place,
    seal,
    unseal,
)
from guilder.platform.identifiers import new_id

_log = structlog.get_logger("guilder.audit")
_RECORDS: Final = "audit.records"
_PERSONAL: Final = "personal"


class Vault:
    """The keys of persons, wrapped in the database by keys that it never sees."""

    def __init__(self, outer: OuterKeys) -> None:
        self._outer = outer

    async def ensure(self) -> None:
        """Read the keys, and make what is missing: for a process that starts.

        Raises:
            KeyUnusable: an outer key is damaged, or another passphrase's.
        """
        self._outer.ensure()

    def pseudonym(self, text: str) -> UUID:
        """The id under which something stands that names a person we do not know.

        Raises:
            KeyUnusable: the key of pseudonyms is damaged.
        """
        return self._outer.pseudonym(text.strip().casefold())

    async def keys_of(self, tx: Tx, persons: Collection[UUID]) -> Mapping[UUID, SealingKey]:
        """The key of each of ``persons`` who is not erased; made where there was none.

        A key that was changed behind Guilder's back is left out, for `guilder verify` to name.

        Raises:
            KeyUnusable: an outer key is damaged.
        """
        if not persons:
            return {}
        stored = await data_keys.find(tx, persons)
        missing = sorted(set(persons) - set(stored))
        if missing:
            await data_keys.add(tx, [self._made(person_id) for person_id in missing])
            stored = {**stored, **await data_keys.find(tx, missing)}
        return self._unwrapped(stored)

    async def existing_keys_of(
        self, tx: Tx, persons: Collection[UUID]
    ) -> Mapping[UUID, SealingKey]:
        """The key of each of ``persons`` who has one that can be used; none is made.

        Raises:
            KeyUnusable: an outer key is damaged.
        """
        return self._unwrapped(await data_keys.find(tx, persons)) if persons else {}

    @property
    def newest_id(self) -> UUID:
        """The id of the outer key that wraps.

        Raises:
            KeyUnusable: an outer key is damaged.
        """
        return self._outer.newest_id

    def add_outer_key(self, key_id: UUID) -> UUID:
        """Make an outer key, which wraps from now on; its id.

        Raises:
            KeyUnusable: an outer key is damaged.
        """
        self._outer.add(key_id)
        return key_id

    def rewrapped(self, key: data_keys.WrappedKey) -> data_keys.WrappedKey:
        """The same key, wrapped by the newest outer key.

        Raises:
            KeyUnusable: an outer key is damaged.
            Unreadable: it was changed, or its outer key is gone.
        """
        at = _wrapped_at(key.person_id)
        secret = self._outer.unwrap(key.wrapped, at=at)
        return msgspec.structs.replace(key, wrapped=self._outer.wrap(secret, at=at))

    def _made(self, person_id: UUID) -> tuple[UUID, UUID, bytes]:
        wrapped = self._outer.wrap(os.urandom(KEY_BYTES), at=_wrapped_at(person_id))
        return person_id, new_id(), wrapped

    def _unwrapped(self, stored: Mapping[UUID, data_keys.StoredKey]) -> dict[UUID, SealingKey]:
        found = {}
        for person_id, key in stored.items():
            if key.wrapped is None:
                continue
            try:
                secret = self._outer.unwrap(key.wrapped, at=_wrapped_at(person_id))
            except Unreadable:
                # what happened is recorded all the same, without what is personal in it
                _log.critical("audit.key_unreadable", person_id=str(person_id))
            else:
                found[person_id] = SealingKey(id=key.id, secret=secret)
        return found


def sealed(personal: Mapping[str, Any], *, key: SealingKey, record: UUID) -> bytes:
    """Personal data as the record with this id stores it."""
    return seal(msgspec.json.encode(personal), key=key, at=_stored_at(record))


def readable(stored: bytes, *, key: SealingKey, record: UUID) -> Mapping[str, Any]:
    """What `sealed` was given.

    Raises:
        Unreadable: it was changed, or belongs to another record or person.
    """
    try:
        found: Mapping[str, Any] = msgspec.json.decode(
            unseal(stored, key=key, at=_stored_at(record)), type=dict[str, Any]
        )
    except msgspec.DecodeError as error:
        raise Unreadable from error
    return found


def persons_in(found: Iterable[UUID | None]) -> list[UUID]:
    """Each person once, in order."""
    return sorted({person_id for person_id in found if person_id is not None})


def _wrapped_at(person_id: UUID) -> bytes:
    return place(data_keys.TABLE, column=data_keys.COLUMN, row=person_id)


def _stored_at(record: UUID) -> bytes:
    return place(_RECORDS, column=_PERSONAL, row=record)
