"""Secrets that may be read for a while only, wherever copies of them lie.

An event stands in the outbox, in a broker and in queues for days, long after a code in it is of use
to anybody. So the code is sealed with a key that is made for it alone. That key is kept in one row,
wrapped by an outer key, until its time is over or it is forgotten sooner. The copies that are left
then open for nobody, whatever keys they have.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

from guilder.platform.db import Tx
from guilder.platform.envelopes import (
    KEY_BYTES,
    OuterKeys,
    SealingKey,
    Unreadable,
    key_id,
    place,
    seal,
    unseal,
)

_KEEP: Final = """
    INSERT INTO platform.ephemeral_keys (id, wrapped, expires_at)
    VALUES ($1, $2, clock_timestamp() + $3::interval)
"""
_ALIVE: Final = """
    SELECT id, wrapped FROM platform.ephemeral_keys
    WHERE id = ANY($1::uuid[]) AND expires_at > clock_timestamp()
"""
_FORGET: Final = "DELETE FROM platform.ephemeral_keys WHERE id = ANY($1::uuid[])"
_CLEAR: Final = "DELETE FROM platform.ephemeral_keys WHERE expires_at <= statement_timestamp()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ephemeral:
    """A secret as it travels, and the key that opens it once it is kept (`keep`)."""

    sealed: bytes
    key: SealingKey = field(repr=False)


def sealed(plain: bytes, *, at: bytes, id_: UUID) -> Ephemeral:
    """``plain`` encrypted with a new key, to be opened only as what is ``at``.

    ``id_`` is new, and what `forget` ends it by.
    """
    key = SealingKey(id=id_, secret=os.urandom(KEY_BYTES))
    return Ephemeral(sealed=seal(plain, key=key, at=at), key=key)


async def keep(tx: Tx, secret: Ephemeral, *, life: timedelta, keys: OuterKeys) -> None:
    """Let a secret be opened for ``life``, from when this commits."""
    key = secret.key
    await tx.execute(_KEEP, key.id, keys.wrap(key.secret, at=_place(key.id)), life)


@dataclass(frozen=True, slots=True, kw_only=True)
class Openable:
    """Some secrets whose time is not over: their keys, still wrapped, by the secrets' ids."""

    wrapped: Mapping[UUID, bytes] = field(repr=False)
    keys: OuterKeys = field(repr=False)

    def open(self, sealed: bytes, *, at: bytes) -> bytes:
        """What was given to `sealed`.

        Raises:
            Unreadable: its time is over, or it was changed or stood elsewhere.
            KeyUnusable: an outer key's file is damaged, or cannot be read any more.
        """
        id_ = key_id(sealed)
        wrapped = self.wrapped.get(id_)
        if wrapped is None:
            # over, or sealed before there were such keys: then an outer key opens it
            return self.keys.unwrap(sealed, at=at)
        secret = self.keys.unwrap(wrapped, at=_place(id_))
        return unseal(sealed, key=SealingKey(id=id_, secret=secret), at=at)


async def openable(tx: Tx, sealed: Iterable[bytes], *, keys: OuterKeys) -> Openable:
    """What it takes to open these secrets, without those whose time is over."""
    ids = [id_ for id_ in map(_id_of, sealed) if id_ is not None]
    rows = await tx.fetch(_ALIVE, ids) if ids else []
    return Openable(wrapped={row["id"]: row["wrapped"] for row in rows}, keys=keys)


async def forget(tx: Tx, ids: Collection[UUID]) -> None:
    """End these secrets now, those that are there."""
    await tx.execute(_FORGET, list(ids))


async def forget_sealed(tx: Tx, secrets: Iterable[bytes]) -> None:
    """End these secrets now, by what is left of them."""
    await forget(tx, [id_ for id_ in map(_id_of, secrets) if id_ is not None])


async def clear(tx: Tx) -> None:
    """Delete the keys of secrets whose time is over."""
    await tx.execute(_CLEAR)


def _id_of(sealed: bytes) -> UUID | None:
    try:
        return key_id(sealed)
    except Unreadable:
        return None


def _place(id_: UUID) -> bytes:
    return place("platform.ephemeral_keys", column="wrapped", row=id_)
