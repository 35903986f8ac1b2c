"""Secrets that may be read for a while only: opened in time, at their place, by the key folder."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from guilder.apps import housekeeping
from guilder.platform import ephemeral
from guilder.platform.db import Database, Tx
from guilder.platform.envelopes import OuterKeys, Unreadable
from guilder.platform.identifiers import new_id
from guilder.platform.settings import Settings

SECRET, HERE = b"847291", b"codes|anna"
A_WHILE = timedelta(minutes=5)
OVER = "UPDATE platform.ephemeral_keys SET expires_at = clock_timestamp() WHERE id = $1"


@pytest.fixture
def keys(tmp_path: Path) -> OuterKeys:
    return OuterKeys(tmp_path / "keys")


async def sealed(db: Database, keys: OuterKeys, *, id_: UUID) -> bytes:
    secret = ephemeral.sealed(SECRET, at=HERE, id_=id_)
    await db.run(lambda tx: ephemeral.keep(tx, secret, life=A_WHILE, keys=keys))
    return secret.sealed


async def opened(db: Database, secret: bytes, *, keys: OuterKeys, at: bytes = HERE) -> bytes:
    found = await db.run(lambda tx: ephemeral.openable(tx, [b"", b"else", secret], keys=keys))
    return found.open(secret, at=at)


async def test_a_secret_opens_in_time_at_its_place(db: Database, keys: OuterKeys):
    one, other = new_id(), new_id()
    secrets = [await sealed(db, keys, id_=id_) for id_ in (one, other)]

    assert [await opened(db, secret, keys=keys) for secret in secrets] == [SECRET, SECRET]
    for secret in secrets:
        assert SECRET not in secret
        with pytest.raises(Unreadable):
            await opened(db, secret, keys=keys, at=b"codes|ben")
        with pytest.raises(Unreadable):
            await opened(db, secret[:-1] + bytes([secret[-1] ^ 1]), keys=keys)


async def test_a_secret_opens_for_no_other_key_folder(
    db: Database, keys: OuterKeys, tmp_path: Path
):
    secret = await sealed(db, keys, id_=new_id())

    with pytest.raises(Unreadable):
        await opened(db, secret, keys=OuterKeys(tmp_path / "others"))


async def test_what_was_sealed_in_a_transaction_that_failed_opens_for_nobody(
    db: Database, keys: OuterKeys
):
    class Undone(Exception):
        pass

    secret = ephemeral.sealed(SECRET, at=HERE, id_=new_id())

    async def work(tx: Tx) -> None:
        await ephemeral.keep(tx, secret, life=A_WHILE, keys=keys)
        raise Undone

    with pytest.raises(Undone):
        await db.run(work)

    with pytest.raises(Unreadable):
        await opened(db, secret.sealed, keys=keys)


async def test_what_was_sealed_before_there_were_such_keys_opens_by_the_key_folder(
    db: Database, keys: OuterKeys
):
    before = keys.wrap(SECRET, at=HERE)

    assert await opened(db, before, keys=keys) == SECRET
    with pytest.raises(Unreadable):
        await opened(db, before, keys=keys, at=b"codes|ben")


@pytest.mark.parametrize("how", ["forgotten", "forgotten by itself", "over", "over and cleared"])
async def test_a_secret_that_is_over_opens_for_nobody(
    how: str,
    db: Database,
    keys: OuterKeys,
    superuser: asyncpg.Connection[asyncpg.Record],
):
    one, other = new_id(), new_id()
    secret, kept = await sealed(db, keys, id_=one), await sealed(db, keys, id_=other)

    if how == "forgotten":
        await db.run(lambda tx: ephemeral.forget(tx, [one]))
    elif how == "forgotten by itself":
        await db.run(lambda tx: ephemeral.forget_sealed(tx, [b"else", secret]))
    else:
        await superuser.execute(OVER, one)
    if how == "over and cleared":
        await db.run(ephemeral.clear)
    left = await superuser.fetchval(
        "SELECT count(*) FROM platform.ephemeral_keys WHERE id = ANY($1)", [one, other]
    )

    with pytest.raises(Unreadable):
        await opened(db, secret, keys=keys)
    assert await opened(db, kept, keys=keys) == SECRET
    assert left == (2 if how == "over" else 1)


async def test_old_keys_are_cleared_in_the_background(
    db: Database, keys: OuterKeys, superuser: asyncpg.Connection[asyncpg.Record]
):
    one = new_id()
    await sealed(db, keys, id_=one)
    await superuser.execute(OVER, one)
    jobs = {job.name: job for job in housekeeping.build(Settings(), db=db).jobs}

    await jobs["platform.clear_ephemeral_keys"].run()

    assert not await superuser.fetchval(
        "SELECT count(*) FROM platform.ephemeral_keys WHERE id = $1", one
    )
