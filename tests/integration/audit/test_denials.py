"""Denied attempts become records, and a flood of them becomes a number."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from guilder.audit.api import PersonalState
from guilder.kernel.ids import UserId
from guilder.platform.db import Database
from guilder.platform.denials import Denial
from guilder.platform.identifiers import new_id
from guilder.platform.origin import Origin
from tests.support.archive import Archive
from tests.support.database import OwnDatabase


def denial(address: str = "203.0.113.9", **fields: object) -> Denial:
    usual = {"code": "FORBIDDEN", "method": "GET", "route": "/api/v1/audit"}
    return Denial(client_address=address, **{**usual, **fields})


@pytest.fixture
def archive(db: Database, tmp_path: Path) -> Archive:
    return Archive(db=db, home=tmp_path)


async def outbox_of(db: Database) -> int:
    found: int = await db.fetchval(
        "SELECT count(*) FROM platform.outbox WHERE type LIKE 'com.guilder.access.%'"
    )
    return found


async def test_a_denial_says_who_was_refused_what_in_which_request_and_from_where(archive: Archive):
    anna = UserId(new_id())
    recorder = archive.denials()
    origin = Origin(anna, "request-1", "cd" * 16)

    recorder.note(denial(origin=origin, person_id=anna))
    await recorder.write()
    await archive.catch_up()

    (record,) = await archive.find(request_id="request-1")
    assert (record.actor_id, record.action) == (anna, "access.denied")
    assert (record.subject, record.key) == ("GET /api/v1/audit", str(anna))
    assert record.details["code"] == "FORBIDDEN"
    assert record.person_id == anna
    assert record.personal == {"client_address": "203.0.113.9"}
    assert await archive.findings() == []


async def test_nothing_personal_lies_in_the_outbox_in_clear(
    archive: Archive, superuser: asyncpg.Connection
):
    recorder = archive.denials()
    recorder.note(denial(code="UNAUTHORIZED", claimed="anna@example.com"))
    await recorder.write()

    texts = await superuser.fetch("SELECT o::text FROM platform.outbox o")

    assert texts
    assert not [text for (text,) in texts if "anna" in text or "203.0.113.9" in text]


async def test_failed_sign_ins_with_one_name_are_one_person_who_can_be_erased(archive: Archive):
    recorder = archive.denials()
    for claimed in ("Anna@Example.com", " anna@example.com ", "ben@example.com"):
        recorder.note(denial(code="UNAUTHORIZED", claimed=claimed))
    await recorder.write()
    await archive.catch_up()
    annas = archive.erasing.pseudonym_of("anna@example.com")

    await archive.erasing.erase_person(annas, reason="asked for it")

    records = await archive.find(action="access.denied")
    of_anna = [record for record in records if record.person_id == annas]
    assert len(of_anna) == 2
    assert {record.personal_state for record in of_anna} == {PersonalState.ERASED}
    (of_ben,) = [
        r for r in records if r.personal and r.personal.get("claimed") == "ben@example.com"
    ]
    assert of_ben.person_id != annas


async def test_a_flood_writes_a_bounded_number_and_tells_the_rest(archive: Archive):
    before = await outbox_of(archive.db)
    recorder = archive.denials(per_second=40)

    for number in range(50_000):
        recorder.note(denial(f"203.0.113.{number % 250}"))
    written = await recorder.write()
    await archive.catch_up()

    (told, *_) = await archive.find(action="access.denials_dropped")
    assert written == 40
    assert await outbox_of(archive.db) == before + 41
    assert told.details["dropped"] == 50_000 - 40
    assert archive.registry.get_sample_value("guilder_denials_dropped_total") == 50_000 - 40
    assert archive.registry.get_sample_value("guilder_denials_recorded_total") == 40


async def test_one_address_leaves_room_for_the_denials_of_others(archive: Archive):
    recorder = archive.denials(per_second=40)

    for _ in range(1_000):
        recorder.note(denial("203.0.113.66"))
    recorder.note(denial("198.51.100.7", origin=Origin(None, "the-other", None)))
    written = await recorder.write()
    await archive.catch_up()

    assert written == 11
    assert len(await archive.find(request_id="the-other")) == 1


async def test_all_addresses_of_one_line_share_the_room_of_one(archive: Archive):
    recorder = archive.denials(per_second=40)

    for number in range(1_000):
        recorder.note(denial(f"2001:db8:1:1::{number:x}"))
    recorder.note(denial("2001:db8:1:2::1", origin=Origin(None, "next-door", None)))
    written = await recorder.write()
    await archive.catch_up()

    assert written == 11
    assert len(await archive.find(request_id="next-door")) == 1


async def test_room_comes_back_once_what_waited_is_written(archive: Archive):
    recorder = archive.denials(per_second=8)

    for _ in range(3):
        for number in range(8):
            recorder.note(denial(f"198.51.100.{number}"))
        assert await recorder.write() == 8

    assert archive.registry.get_sample_value("guilder_denials_dropped_total") == 0


async def test_what_waits_is_written_at_the_end(archive: Archive):
    before = await outbox_of(archive.db)
    recorder = archive.denials(pause_s=3600)

    async with recorder.running():
        recorder.note(denial())
        await asyncio.sleep(0)
        for number in range(20):
            recorder.note(denial(f"198.51.100.{number}"))

    assert await outbox_of(archive.db) == before + 21


async def test_denials_wait_for_a_database_that_is_away_and_are_recorded_once(
    tmp_path: Path, database: OwnDatabase
):
    pool = await database.connect(max_connections=2)
    archive = Archive(db=pool, home=tmp_path)
    recorder = archive.denials()
    connection = await asyncpg.connect(database.url("postgres"))
    try:
        recorder.note(denial(origin=Origin(None, "while-away", None)))
        await connection.execute("ALTER ROLE guilder_app NOLOGIN")
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'guilder_app'"
        )
        with pytest.raises((asyncpg.PostgresError, OSError)):
            await recorder.write()
        await connection.execute("ALTER ROLE guilder_app LOGIN")

        assert await recorder.write() == 1
        await archive.catch_up()

        assert len(await archive.find(request_id="while-away")) == 1
    finally:
        await connection.execute("ALTER ROLE guilder_app LOGIN")
        await connection.close()
        await pool.close()
