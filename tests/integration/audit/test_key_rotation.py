"""Audit's keys are changed: what was signed stays good, what is personal stays readable."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from guilder.audit.module import Folders, build_publishing, build_rotation
from guilder.audit.service.rotate_keys import RotateKeys
from guilder.audit.store.heads_keys import HeadsKeys
from guilder.audit.store.publications import name_of
from guilder.ledger.module import build_heads
from guilder.platform.checks import Finding
from guilder.platform.db import Database
from guilder.platform.identifiers import new_id
from guilder.platform.key_files import KeyUnusable
from tests.support.archive import Archive, event

PERSONAL = {"email": "anna@example.com"}
WRAPPED_BY = """
    SELECT substring(wrapped FROM 2 FOR 16) FROM audit.data_keys
    WHERE person_id = ANY($1::uuid[]) ORDER BY person_id
"""


@pytest_asyncio.fixture
async def publisher(db: Database, tmp_path: Path) -> Archive:
    """One with an empty folder and something to publish."""
    publisher = Archive(db=db, home=tmp_path / "home")
    await publisher.hear(event())
    return publisher


def rotation(archive: Archive) -> RotateKeys:
    return build_rotation(db=archive.db, folders=archive.folders)


def named(archive: Archive, suffix: str) -> list[str]:
    folder = archive.folders.keys / "heads"
    return [path.stem for path in folder.glob(f"*{suffix}")]


async def of_heads(archive: Archive) -> Sequence[Finding]:
    return [finding for finding in await archive.findings() if finding.table == "heads"]


async def test_what_a_succeeded_key_signed_is_still_good(publisher: Archive):
    await publisher.publish()
    (first,) = named(publisher, ".jwk")

    second = await rotation(publisher).succeed_heads_key()
    await publisher.hear(event())
    await publisher.publish()

    assert named(publisher, ".jwk") == [second]
    assert named(publisher, ".retired") == [first]
    shown = {path.name for path in publisher.folders.heads.glob("*.public.jwk")}
    assert shown == {f"{first}.public.jwk", f"{second}.public.jwk"}
    assert await of_heads(publisher) == []


async def test_a_running_publisher_signs_with_the_newest_key(publisher: Archive):
    await publisher.publish()
    await rotation(publisher).succeed_heads_key()
    third = await rotation(publisher).succeed_heads_key()
    await publisher.hear(event())

    await publisher.publish()

    assert (publisher.folders.heads / f"{third}.public.jwk").exists()
    assert len(named(publisher, ".retired")) == 2
    assert await of_heads(publisher) == []


async def test_a_succeeded_key_that_was_stolen_signs_nothing_new(
    publisher: Archive, tmp_path: Path
):
    await publisher.publish()
    shutil.copytree(publisher.folders.keys, tmp_path / "stolen")
    a_while_ago = HeadsKeys(publisher.folders.keys / "heads", now=lambda: time.time() - 60)
    a_while_ago.rotate()
    await publisher.hear(event())

    thief = Folders(keys=tmp_path / "stolen", heads=publisher.folders.heads)
    await build_publishing(db=publisher.db, ledger=build_heads(), folders=thief).publish()

    (finding,) = [found for found in await of_heads(publisher) if found.row == name_of(2)]
    assert finding.detail == "it is signed by a key that had been succeeded by then"


async def test_a_rotation_that_was_cut_short_is_finished_by_the_next(publisher: Archive):
    await publisher.publish()
    folder = publisher.folders.keys / "heads"
    (first,) = named(publisher, ".jwk")
    private = (folder / f"{first}.jwk").read_bytes()
    await rotation(publisher).succeed_heads_key()
    (folder / f"{first}.jwk").write_bytes(private)
    (folder / f"{first}.retired").unlink()

    third = await rotation(publisher).succeed_heads_key()

    assert named(publisher, ".jwk") == [third]
    assert first in named(publisher, ".retired")
    assert await of_heads(publisher) == []


async def test_a_key_under_the_name_of_another_verifies_nothing(publisher: Archive):
    await publisher.publish()
    (first,) = named(publisher, ".jwk")
    await rotation(publisher).succeed_heads_key()
    await rotation(publisher).succeed_heads_key()
    folder = publisher.folders.keys / "heads"
    other = next(kid for kid in named(publisher, ".retired") if kid != first)
    shutil.copy(folder / f"{other}.retired", folder / f"{first}.retired")

    with pytest.raises(KeyUnusable, match="thumbprint"):
        publisher.folders.signing().find(first)


async def wrapped_by(archive: Archive, *persons: UUID) -> list[UUID]:
    rows = await archive.db.fetch(WRAPPED_BY, list(persons))
    return [UUID(bytes=row[0]) for row in rows]


async def test_personal_data_is_read_after_its_keys_were_wrapped_anew(archive: Archive):
    anna, ben = new_id(), new_id()
    of_anna = event(user_id=str(anna), personal=PERSONAL)
    of_ben = event(user_id=str(ben), personal=PERSONAL)
    await archive.hear(of_anna, of_ben)
    await archive.erasing.erase_person(ben, reason="asked for it")
    (before,) = await wrapped_by(archive, anna)

    result = await rotation(archive).rewrap()

    assert result.unreadable == 0
    assert result.persons >= 1
    (after,) = await wrapped_by(archive, anna)
    assert after > before
    assert (await archive.find_of(of_anna)).personal == PERSONAL
    assert (await archive.find_of(of_ben)).personal is None
    assert [found for found in await archive.findings() if found.table != "heads"] == []


async def test_a_running_process_wraps_with_the_new_key(archive: Archive):
    await rotation(archive).rewrap()
    anna = new_id()

    await archive.hear(event(user_id=str(anna), personal=PERSONAL))

    newest = archive.folders.vault().newest_id
    assert await wrapped_by(archive, anna) == [newest]


async def test_wrapping_anew_goes_on_where_it_was_cut_short(archive: Archive):
    anna, ben = new_id(), new_id()
    await archive.hear(event(user_id=str(anna), personal=PERSONAL))
    newest = archive.folders.vault().add_outer_key(new_id())
    await archive.hear(event(user_id=str(ben), personal=PERSONAL))

    await rotation(archive).rewrap()

    assert await wrapped_by(archive, anna, ben) == [newest, newest]


async def test_a_key_that_was_tampered_with_is_counted_and_left(
    archive: Archive, superuser: asyncpg.Connection
):
    anna, ben = sorted([new_id(), new_id()])
    await archive.hear(*(event(user_id=str(one), personal=PERSONAL) for one in (anna, ben)))
    await rotation(archive).rewrap()
    broken = "UPDATE audit.data_keys SET wrapped = wrapped || '\\x00' WHERE person_id = $1"
    mended = "UPDATE audit.data_keys SET wrapped = substring(wrapped FOR length(wrapped) - 1)"
    await superuser.execute(broken, anna)

    result = await rotation(archive).rewrap()

    await superuser.execute(f"{mended} WHERE person_id = $1", anna)
    assert result.unreadable == 1
    assert len(set(await wrapped_by(archive, anna, ben))) == 2
    assert (await rotation(archive).rewrap()).unreadable == 0
    assert len(set(await wrapped_by(archive, anna, ben))) == 1
