"""What is personal is read as long as its person is there, and by nobody afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, time
from pathlib import Path
from uuid import UUID

import asyncpg
import msgspec
import pytest

from guilder.audit.api import PersonalState
from guilder.audit.store.checks import CHECKS
from guilder.identity.events import NewDeviceUsed, SeenDevice
from guilder.kernel.ids import SessionId, UserId
from guilder.notifications.events import (
    ChosenHabits,
    ChosenPreferences,
    HabitsChanged,
    PreferencesChanged,
)
from guilder.platform.db import Database
from guilder.platform.erasures import Listed
from guilder.platform.identifiers import new_id
from guilder.platform.outbox import Fact
from tests.support.archive import Archive, event
from tests.support.tampering import findings_of

CLAIMED = {"email": "anna@example.com", "client_address": "203.0.113.9"}


async def stored(superuser: asyncpg.Connection) -> str:
    """Everything of audit and the outbox as a dump would show it."""
    rows = await superuser.fetch(
        "SELECT t::text FROM audit.records t UNION ALL SELECT t::text FROM audit.data_keys t "
        "UNION ALL SELECT t::text FROM audit.chains t"
    )
    return "\n".join(row[0] for row in rows)


async def test_personal_data_is_read_back_and_nowhere_in_clear(
    archive: Archive, superuser: asyncpg.Connection
):
    anna = new_id()
    heard = event(user_id=str(anna), personal=CLAIMED, status="tried")

    await archive.hear(heard)

    record = await archive.find_of(heard)
    dump = await stored(superuser)
    assert record.personal == CLAIMED
    assert record.personal_state is PersonalState.READABLE
    assert record.person_id == anna
    assert record.details == {"user_id": str(anna), "status": "tried"}
    assert "anna@example" not in dump
    assert "203.0.113.9" not in dump
    assert b"anna@example".hex() not in dump


def at_night(language: str) -> ChosenHabits:
    return ChosenHabits(
        language=language, time_zone="Asia/Kolkata", quiet_from=time(22, 17), quiet_until=time(7)
    )


def telling_of_habits(anna: UserId) -> Fact:
    return PreferencesChanged(
        user_id=anna,
        before=ChosenPreferences(channels={}),
        after=ChosenPreferences(channels={"payments": {"sms": True}}),
        personal=HabitsChanged(before=at_night("en"), after=at_night("hi")),
    )


def telling_of_a_device(anna: UserId) -> Fact:
    return NewDeviceUsed(
        user_id=anna,
        account_id=anna,
        account_type="customer",
        session_id=SessionId(new_id()),
        used_at=datetime.now(UTC),
        personal=SeenDevice(device="Firefox on Linux", network="198.51.0.0/16"),
    )


@pytest.mark.parametrize(
    ("telling", "words"),
    [
        (telling_of_habits, ("Asia/Kolkata", "22:17", '"hi"')),
        (telling_of_a_device, ("Firefox", "198.51")),
    ],
)
async def test_how_somebody_lives_and_with_what_they_sign_in_is_erased_with_them(
    archive: Archive,
    superuser: asyncpg.Connection,
    telling: Callable[[UserId], Fact],
    words: tuple[str, ...],
):
    anna = UserId(new_id())
    fact = telling(anna)
    heard = event(fact.TYPE, key=str(anna), **msgspec.to_builtins(fact))
    await archive.hear(heard)
    dump = await stored(superuser)
    before = await archive.find_of(heard)

    await archive.erasing.erase_person(anna, reason="asked for it")

    assert before.person_id == anna
    assert before.personal is not None
    assert all(word in msgspec.json.encode(before.personal).decode() for word in words)
    in_clear = msgspec.json.encode([before.before, before.after, before.details]).decode()
    assert not any(word in in_clear + dump for word in words)
    assert (await archive.find_of(heard)).personal is None


async def test_what_another_context_has_sealed_is_erased_with_its_person(archive: Archive):
    anna = new_id()
    heard = event("com.guilder.user.contact_changed", user_id=str(anna), sealed="c2VhbGVk", n=1)
    await archive.hear(heard)
    before = await archive.find_of(heard)

    await archive.erasing.erase_person(anna, reason="asked for it")

    assert before.personal == {"sealed": "c2VhbGVk"}
    assert "sealed" not in before.details
    assert (await archive.find_of(heard)).personal is None


async def test_erasing_a_person_leaves_the_chain_whole_and_others_readable(archive: Archive):
    anna, ben = new_id(), new_id()
    of_anna = [event(user_id=str(anna), personal=CLAIMED) for _ in range(3)]
    of_ben = event(user_id=str(ben), personal={"email": "ben@example.com"})
    await archive.hear(*of_anna, of_ben)
    hashes = [(await archive.find_of(heard)).hash for heard in of_anna]

    assert await archive.erasing.erase_person(anna, reason="asked for it") is True

    records = [await archive.find_of(heard) for heard in of_anna]
    assert [record.hash for record in records] == hashes
    assert {record.personal_state for record in records} == {PersonalState.ERASED}
    assert [record.personal for record in records] == [None] * 3
    assert (await archive.find_of(of_ben)).personal == {"email": "ben@example.com"}
    assert await archive.findings() == []


async def test_an_erasure_is_itself_recorded_with_its_reason(archive: Archive):
    anna = new_id()

    await archive.erasing.erase_person(anna, reason="request 17 of 2026")
    await archive.catch_up()

    (record,) = await archive.find(subject=str(anna), action="person.erased")
    assert record.details["reason"] == "request 17 of 2026"


async def test_erasing_again_changes_nothing(archive: Archive):
    anna = new_id()
    await archive.hear(event(user_id=str(anna), personal=CLAIMED))
    await archive.erasing.erase_person(anna, reason="asked for it")

    again = await asyncio.gather(
        *(archive.erasing.erase_person(anna, reason="asked again") for _ in range(5))
    )
    await archive.catch_up()

    assert again == [False] * 5
    assert len(await archive.find(subject=str(anna), action="person.erased")) == 1


async def test_what_comes_after_an_erasure_is_kept_without_what_is_personal(archive: Archive):
    anna = new_id()
    await archive.erasing.erase_person(anna, reason="asked for it")
    late = event(user_id=str(anna), personal=CLAIMED)

    await archive.hear(late)

    record = await archive.find_of(late)
    assert record.personal is None
    assert record.personal_state is PersonalState.ERASED
    assert await archive.findings() == []


async def test_a_restored_backup_does_not_bring_a_person_back(
    archive: Archive, superuser: asyncpg.Connection
):
    anna = new_id()
    heard = event(user_id=str(anna), personal=CLAIMED)
    await archive.hear(heard)
    kept = await superuser.fetchrow("SELECT * FROM audit.data_keys WHERE person_id = $1", anna)
    await archive.erasing.erase_person(anna, reason="asked for it")
    async with superuser.transaction():
        await superuser.execute("SET LOCAL session_replication_role = replica")
        await superuser.execute(
            "UPDATE audit.data_keys SET wrapped = $2, erased_at = NULL, seal = $3 "
            "WHERE person_id = $1",
            anna,
            kept["wrapped"],
            kept["seal"],
        )
    restored = await archive.find_of(heard)
    found = await archive.findings()

    assert await archive.erasing.erase_listed() == 1

    assert restored.personal == CLAIMED
    assert [finding.row for finding in found] == [str(anna)]
    assert (await archive.find_of(heard)).personal is None
    assert await archive.findings() == []


async def test_an_erasure_that_was_listed_and_not_done_is_done_later(archive: Archive):
    anna = new_id()
    await archive.hear(event(user_id=str(anna), personal=CLAIMED))
    list_of_erased = archive.folders.heads / "erasures.jsonl"
    with list_of_erased.open("ab") as file:
        file.write(msgspec.json.encode(Listed(person_id=anna, reason="asked")) + b"\n")

    assert await archive.erasing.erase_listed() == 1
    assert await archive.erasing.erase_listed() == 0


async def test_an_erased_key_cannot_be_put_back_by_the_application(archive: Archive, db: Database):
    anna = new_id()
    await archive.erasing.erase_person(anna, reason="asked for it")

    with pytest.raises(asyncpg.RestrictViolationError):
        await db.fetch(
            "UPDATE audit.data_keys SET wrapped = $2, erased_at = NULL WHERE person_id = $1",
            anna,
            b"x",
        )


async def test_a_key_that_was_changed_stops_nothing_and_is_found(
    archive: Archive, superuser: asyncpg.Connection
):
    anna = new_id()
    await archive.hear(event(user_id=str(anna), personal=CLAIMED))
    await superuser.execute(
        "UPDATE audit.data_keys SET wrapped = set_byte(wrapped, 40, 255 - get_byte(wrapped, 40)) "
        "WHERE person_id = $1",
        anna,
    )
    late = event(user_id=str(anna), personal=CLAIMED)

    await archive.hear(late)

    assert (await archive.find_of(late)).personal is None
    assert [finding.row for finding in await findings_of(superuser, CHECKS)] == [str(anna)]
    await archive.erasing.erase_person(anna, reason="the key is damaged")


async def test_ciphertext_opens_only_in_its_own_record(
    archive: Archive, superuser: asyncpg.Connection
):
    anna = new_id()
    first = event(user_id=str(anna), personal={"email": "anna@example.com"})
    second = event(user_id=str(anna), personal={"email": "a.rao@example.com"})
    await archive.hear(first, second)
    transaction = superuser.transaction()
    await transaction.start()
    await superuser.execute("SET LOCAL session_replication_role = replica")
    await superuser.execute(
        "UPDATE audit.records SET personal = "
        "(SELECT personal FROM audit.records WHERE event_id = $1) WHERE event_id = $2",
        first.id,
        second.id,
    )
    await transaction.commit()

    record = await archive.find_of(second)
    async with superuser.transaction():
        await superuser.execute("SET LOCAL session_replication_role = replica")
        await superuser.execute("DELETE FROM audit.records")
        await superuser.execute(
            "UPDATE audit.chains SET sequence = 0, hash = decode(repeat('00', 32), 'hex')"
        )

    assert record.personal_state is PersonalState.DAMAGED
    assert record.personal is None


async def test_many_who_need_a_new_key_at_once_share_one(archive: Archive, tmp_path: Path):
    people = [new_id() for _ in range(10)]

    def heard() -> list[object]:
        return [event(user_id=str(anna), personal=CLAIMED) for anna in people]

    await asyncio.gather(*(archive.hear(*heard()) for _ in range(8)))

    keys: list[UUID] = [
        row["person_id"]
        for row in await archive.db.fetch(
            "SELECT person_id FROM audit.data_keys WHERE person_id = ANY($1::uuid[])", people
        )
    ]
    states = {record.personal_state for record in await archive.find(action="account.frozen")}
    assert sorted(keys) == sorted(people)
    assert PersonalState.DAMAGED not in states
