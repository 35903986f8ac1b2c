"""Heads are published whole, signed and in a row, by however many processes publish."""

from __future__ import annotations

import asyncio
import json
import stat
from base64 import urlsafe_b64decode
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from joserfc import jws
from joserfc.jwk import JWKRegistry

from guilder.audit.store.publications import Forged, name_of
from guilder.platform.db import Database
from guilder.platform.identifiers import new_id
from tests.support.archive import Archive, event
from tests.support.bank import deposit, opened, person


@pytest_asyncio.fixture
async def archive(db: Database, tmp_path: Path) -> Archive:
    """One with an empty folder."""
    archive = Archive(db=db, home=tmp_path)
    await archive.hear(event())
    return archive


def files(archive: Archive) -> list[Path]:
    return sorted(archive.folders.heads.glob("*.jws"))


def stated(file: Path) -> dict[str, object]:
    payload = file.read_text().split(".")[1]
    found: dict[str, object] = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return found


async def test_a_publication_states_the_end_of_every_chain(archive: Archive):
    published = await archive.publish()

    heads = await archive.db.fetch(
        "SELECT chain, sequence, hash FROM audit.chains WHERE sequence > 0"
    )
    said = stated(files(archive)[0])
    assert published.is_new
    assert published.covers_ledger
    assert said["audit"] == [
        {"chain": row["chain"], "sequence": row["sequence"], "hash": row["hash"].hex()}
        for row in sorted(heads)
    ]


async def test_whoever_has_the_folder_verifies_with_any_library(archive: Archive):
    await archive.publish()
    (public,) = archive.folders.heads.glob("*.public.jwk")

    key = JWKRegistry.import_key(json.loads(public.read_bytes()))
    stated_by = jws.deserialize_compact(files(archive)[0].read_bytes(), key, algorithms=["ES256"])

    assert not key.is_private
    assert json.loads(stated_by.payload) == stated(files(archive)[0])


async def test_publications_follow_one_another_when_many_publish_at_once(archive: Archive):
    async def publish() -> None:
        await archive.hear(event())
        await archive.publish()

    await asyncio.gather(*(publish() for _ in range(8)))

    numbers = [stated(file)["number"] for file in files(archive)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert await archive.findings() == []


async def test_nothing_new_is_not_published_again(archive: Archive):
    first = await archive.publish()

    second = await archive.publish()

    assert (second.number, second.is_new) == (first.number, False)
    assert len(files(archive)) == 1


async def test_a_young_publication_is_left_for_a_while(archive: Archive):
    await archive.publish()
    await archive.hear(event())

    assert await archive.publishing.publish(at_most_every_s=3600) is None


async def test_money_that_moved_is_published_though_audit_has_not_heard_of_it(archive: Archive):
    await archive.publish()
    anna = person()
    async with opened(archive.db) as bank:
        await bank.engine.pay(deposit(anna, await bank.open(anna), amount_minor=5))

    published = await archive.publish()

    assert published.is_new
    assert published.accounts == 2


async def test_an_open_transaction_is_waited_for_before_the_ledger_is_told(
    archive: Archive, superuser: asyncpg.Connection
):
    writer = superuser.transaction()
    await writer.start()
    await superuser.execute("SELECT pg_current_xact_id()")

    publishing = asyncio.ensure_future(archive.publish())
    done, _ = await asyncio.wait({publishing}, timeout=0.3)
    await writer.rollback()
    published = await publishing

    assert not done
    assert published.covers_ledger


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.unlink(),
        lambda file: file.write_bytes(file.read_bytes().replace(b"A", b"B", 1)),
        lambda file: file.write_bytes(b"not signed by anybody"),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.with_name(name_of(1)).read_bytes()),
    ],
    ids=["removed", "edited", "replaced", "emptied", "doubled"],
)
async def test_a_publication_that_was_damaged_is_found(archive: Archive, damage):
    for _ in range(3):
        await archive.hear(event())
        await archive.publish()
    damage(files(archive)[1])

    assert {finding.table for finding in await archive.findings()} == {"heads"}


async def test_a_publication_signed_by_a_stranger_is_found(
    archive: Archive, db: Database, tmp_path: Path
):
    await archive.publish()
    stranger = Archive(db=db, home=tmp_path / "stranger")
    await stranger.publish()
    files(archive)[0].write_bytes(files(stranger)[0].read_bytes())

    findings = await archive.findings()

    assert [finding.row for finding in findings] == [name_of(1)]
    with pytest.raises(Forged):
        await archive.publish()


async def test_old_publications_may_be_moved_elsewhere(archive: Archive):
    for _ in range(3):
        await archive.hear(event())
        await archive.publish()
    files(archive)[0].unlink()

    assert await archive.findings() == []


async def test_keys_are_for_their_owner_only_and_never_in_the_database(
    archive: Archive, superuser: asyncpg.Connection
):
    await archive.hear(event(user_id=str(new_id()), personal={"email": "anna@example.com"}))
    await archive.publish()

    kept = [path for path in archive.folders.keys.rglob("*") if path.is_file()]
    secret = next(path for path in kept if path.suffix == ".kek").read_bytes()
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}
    assert not await superuser.fetchval(
        "SELECT count(*) FROM audit.data_keys WHERE position($1 IN wrapped) > 0", secret
    )
