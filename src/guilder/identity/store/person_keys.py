"""The key of each person, wrapped, and the blind index that finds what it has encrypted.

A person's data key lies in the database as an outer key has wrapped it; destroyed, it is gone for
good, and everything it encrypted with it. Emails and phones are found by HMAC under keys that the
database never sees; it says which of these are in use (`identity.index_keys`).
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from guilder.kernel.ids import UserId
from guilder.platform.db import Row, Tx
from guilder.platform.envelopes import (
    KEY_BYTES,
    OuterKeys,
    SealingKey,
    place,
    seal,
    unseal,
)
from guilder.platform.identifiers import new_id
from guilder.platform.key_files import KeyUnusable

EMAIL: Final = "email"
PHONE: Final = "phone"
_INDEX: Final = "contacts"
_USERS: Final = "identity.users"

# A shared lock for who writes digests, an exclusive one for who changes which keys are in use:
# nobody may write under last moment's keys once the others were looked at.
_LOCK_SHARED: Final = "SELECT pg_advisory_xact_lock_shared(hashtextextended('identity.index', 0))"
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('identity.index', 0))"
_IN_USE: Final = "SELECT id FROM identity.index_keys ORDER BY id"
_ADD_IN_USE: Final = "INSERT INTO identity.index_keys (id) VALUES ($1) ON CONFLICT DO NOTHING"
_DROP_IN_USE: Final = "DELETE FROM identity.index_keys WHERE id <> $1"
_ADD_DIGESTS: Final = """
    INSERT INTO identity.contact_digests (key_id, kind, digest, user_id)
    SELECT key_id, kind, digest, $1
    FROM unnest($2::uuid[], $3::text[], $4::bytea[]) AS d(key_id, kind, digest)
    ON CONFLICT DO NOTHING
"""
_OURS: Final = """
    SELECT count(*) FROM identity.contact_digests
    WHERE user_id = $1 AND (kind, digest) IN (SELECT * FROM unnest($2::text[], $3::bytea[]))
"""
_DROP_DIGESTS: Final = "DELETE FROM identity.contact_digests WHERE user_id = $1"
_DROP_OTHER_DIGESTS: Final = """
    DELETE FROM identity.contact_digests d USING (
        SELECT kind, digest FROM identity.contact_digests WHERE key_id <> $1 LIMIT $2
    ) AS old
    WHERE d.kind = old.kind AND d.digest = old.digest
"""
_ADD_KEY: Final = """
    INSERT INTO identity.person_keys (user_id, id, wrapped) VALUES ($1, $2, $3)
    ON CONFLICT (user_id) DO NOTHING
"""
_LOCK_KEY: Final = """
    SELECT user_id, id, wrapped FROM identity.person_keys WHERE user_id = $1 FOR NO KEY UPDATE
"""
_PUT_KEY: Final = """
    UPDATE identity.person_keys SET id = $2, wrapped = $3, made_at = clock_timestamp()
    WHERE user_id = $1
"""
_REWRAP: Final = "UPDATE identity.person_keys SET wrapped = $2 WHERE user_id = $1"
_DESTROY: Final = """
    INSERT INTO identity.person_keys AS k (user_id, id, wrapped, destroyed_at)
    VALUES ($1, $2, NULL, clock_timestamp())
    ON CONFLICT (user_id) DO UPDATE SET wrapped = NULL, destroyed_at = excluded.destroyed_at
    WHERE k.destroyed_at IS NULL
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonKey:
    """A person's data key, and as it is stored."""

    key: SealingKey
    wrapped: bytes = field(repr=False)


class PersonalKeys:
    """Makes and opens the keys of persons, and computes digests. ``outer`` is the key folder's."""

    def __init__(self, outer: OuterKeys) -> None:
        self._outer = outer

    async def ensure(self) -> None:
        """Read the keys, and make what is missing: for a process that starts.

        Raises:
            KeyUnusable: a key is damaged, or another passphrase's.
        """
        self._outer.ensure(index=_INDEX)

    @property
    def newest_outer_id(self) -> UUID:
        """The id of the outer key that wraps."""
        return self._outer.newest_id

    def make(self, user_id: UserId) -> PersonKey:
        """A new data key for a person."""
        key = SealingKey(id=new_id(), secret=os.urandom(KEY_BYTES))
        return PersonKey(key=key, wrapped=self._wrapped(user_id, key))

    def open(self, user_id: UserId, *, id: UUID, wrapped: bytes) -> SealingKey:  # noqa: A002 - the column's name
        """A person's data key.

        Raises:
            Unreadable: it was changed, is another person's, or its outer key is not here.
        """
        return SealingKey(id=id, secret=self._outer.unwrap(wrapped, at=_wrapped_at(user_id)))

    def rewrap(self, user_id: UserId, *, id: UUID, wrapped: bytes) -> bytes:  # noqa: A002 - the column's name
        """The same data key, wrapped by the newest outer key.

        Raises:
            Unreadable: as `open`.
        """
        return self._wrapped(user_id, self.open(user_id, id=id, wrapped=wrapped))

    def digest(self, kind: str, text: str, *, index_key: UUID) -> bytes:
        """What an email or phone is found by under one of the index's keys.

        Raises:
            KeyUnusable: the key folder does not have that key, or it is damaged.
        """
        secret = self._outer.index_keys(_INDEX).get(index_key)
        if secret is None:
            raise KeyUnusable(f"the key folder lacks the index key {index_key}, which is in use")
        return _digest(secret, kind, text)

    def digests(self, kind: str, text: str | None) -> list[bytes]:
        """What an email or phone may be found by, under every key that there is; none for None.

        Raises:
            KeyUnusable: a key is damaged.
        """
        if text is None:
            return []
        return [_digest(secret, kind, text) for secret in self._outer.index_keys(_INDEX).values()]

    def add_outer_key(self, key_id: UUID) -> None:
        """Make a newer outer key."""
        self._outer.add(key_id)

    def add_index_key(self, key_id: UUID) -> None:
        """Make another key for the index; it is used once the database says so."""
        self._outer.add_index_key(_INDEX, key_id=key_id)

    def _wrapped(self, user_id: UserId, key: SealingKey) -> bytes:
        return self._outer.wrap(key.secret, at=_wrapped_at(user_id))


def sealed(text: str | None, *, key: SealingKey, user_id: UserId, column: str) -> bytes | None:
    """A field of a user as it is stored."""
    if text is None:
        return None
    return seal(text.encode(), key=key, at=place(_USERS, column=column, row=user_id))


def opened(stored: bytes | None, *, key: SealingKey, user_id: UserId, column: str) -> str | None:
    """A field of a user as `sealed` was given it.

    Raises:
        Unreadable: it was changed, or is another user's or another field.
    """
    if stored is None:
        return None
    return unseal(stored, key=key, at=place(_USERS, column=column, row=user_id)).decode()


async def claim_contacts(
    tx: Tx, user_id: UserId, *, keys: PersonalKeys, email_key: str, phone: str | None
) -> bool:
    """Whether this user is the one who has this email and phone, now that they are claimed.

    Raises:
        KeyUnusable: the key folder lacks a key of the index.
    """
    await tx.execute(_LOCK_SHARED)
    contacts = [(EMAIL, email_key)] + ([] if phone is None else [(PHONE, phone)])
    found = [
        (key, kind, keys.digest(kind, text, index_key=key))
        for key in await index_keys_in_use(tx)
        for kind, text in contacts
    ]
    kinds, digests = [kind for _, kind, _ in found], [digest for _, _, digest in found]
    await tx.execute(_ADD_DIGESTS, user_id, [key for key, _, _ in found], kinds, digests)
    return bool(await tx.fetchval(_OURS, user_id, kinds, digests) == len(found))


async def index_keys_in_use(tx: Tx) -> Sequence[UUID]:
    """The keys under which every email and phone has a digest, oldest first."""
    return [row["id"] for row in await tx.fetch(_IN_USE)]


async def use_index_key(tx: Tx, key_id: UUID) -> None:
    """From this commit on, whoever writes an email or phone writes a digest under this key, too."""
    await tx.execute(_LOCK)
    await tx.execute(_ADD_IN_USE, key_id)


async def use_index_key_alone(tx: Tx, key_id: UUID) -> None:
    """From this commit on, nobody writes digests under another key."""
    await tx.execute(_LOCK)
    await tx.execute(_DROP_IN_USE, key_id)


async def drop_digests_not_of(tx: Tx, key_id: UUID, *, most: int) -> str:
    """Delete up to ``most`` digests of keys that are not in use any more; the command's tag."""
    tag: str = await tx.execute(_DROP_OTHER_DIGESTS, key_id, most)
    return tag


async def drop_digests(tx: Tx, user_id: UserId) -> None:
    """Nobody is found by this user's email and phone any more."""
    await tx.execute(_DROP_DIGESTS, user_id)


async def add_key(tx: Tx, user_id: UserId, key: PersonKey) -> None:
    """Store a person's key, unless there is one."""
    await tx.execute(_ADD_KEY, user_id, key.key.id, key.wrapped)


async def lock_key(tx: Tx, user_id: UserId) -> Row | None:
    """A person's key (``id``, ``wrapped``) under its lock; None when there never was one."""
    return await tx.fetchrow(_LOCK_KEY, user_id)


async def put_key(tx: Tx, user_id: UserId, key: PersonKey) -> None:
    """Give a person another key; what the one before has encrypted is written anew beside this."""
    await tx.execute(_PUT_KEY, user_id, key.key.id, key.wrapped)


async def put_wrapped(tx: Tx, user_id: UserId, wrapped: bytes) -> None:
    """Store a person's key as another outer key has wrapped it."""
    await tx.execute(_REWRAP, user_id, wrapped)


async def destroy_key(tx: Tx, user_id: UserId) -> None:
    """Destroy a person's key for good, or see to it that there never is one."""
    await tx.execute(_DESTROY, user_id, new_id())


def _digest(secret: bytes, kind: str, text: str) -> bytes:
    return hmac.digest(secret, f"{kind}|{text}".encode(), "sha256")


def _wrapped_at(user_id: UserId) -> bytes:
    return place("identity.person_keys", column="wrapped", row=user_id)
