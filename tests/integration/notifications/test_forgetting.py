"""Erased people are forgotten, whatever else is on its way to them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from guilder.identity.events import AccountReclaimed
from guilder.identity.events.staff import UserErased
from guilder.kernel.ids import EventId
from guilder.notifications.api import DeviceId
from guilder.notifications.consumers import subscriptions
from guilder.notifications.store import people
from guilder.platform.bus import Event
from guilder.platform.identifiers import new_id
from tests.support.newsstand import Newsstand, Person, failure, payment

EVERYTHING = (
    "known_devices",
    "preferences",
    "devices",
    "deliveries",
    "sandbox_outbox",
    "feed",
    "inboxes",
)


def erasure(person: Person) -> Event:
    return Event(
        id=EventId(new_id()),
        type=UserErased.TYPE,
        key=str(person.id),
        time=datetime.now(UTC),
        data={"user_id": str(person.id), "by": None, "reason": "asked", "erased_at": "now"},
    )


async def hear(stand: Newsstand, events: Sequence[Event]) -> None:
    (subscription,) = subscriptions(stand.newsroom, stand.forgetting)
    assert {event.type for event in events} <= (subscription.types or set())
    await stand.db.run(lambda tx: subscription.hear(tx, events))


async def known(stand: Newsstand, person: Person) -> dict[str, int]:
    """How many rows of a person each table has."""
    return {
        table: await stand.db.fetchval(
            f"SELECT count(*) FROM notifications.{table} WHERE user_id = $1", person.id
        )
        for table in EVERYTHING
    }


async def addresses(stand: Newsstand, person: Person) -> tuple[bytes, bool, bool]:
    row = await stand.db.fetchrow(
        "SELECT sealed, has_email, has_phone FROM notifications.contacts WHERE user_id = $1",
        person.id,
    )
    assert row is not None
    return tuple(row)


async def test_nothing_is_known_of_somebody_erased_and_all_of_others(stand: Newsstand) -> None:
    anna, ben = await stand.person("Anna"), await stand.person("Ben")
    await stand.hear(payment(anna.wallet, ben.wallet))
    before = await known(stand, ben)

    await hear(stand, [erasure(anna)])

    assert set((await known(stand, anna)).values()) == {0}
    assert await addresses(stand, anna) == (b"", False, False)
    assert await known(stand, ben) == before
    assert before["feed"] > 0


async def test_an_address_that_is_heard_late_is_not_kept(stand: Newsstand) -> None:
    anna = await stand.person("Anna")
    await hear(stand, [erasure(anna)])

    await stand.hear(stand.contact(anna, "Anna"))

    assert await addresses(stand, anna) == (b"", False, False)


async def test_news_that_come_late_are_sent_to_nobody_and_forgotten(stand: Newsstand) -> None:
    anna = await stand.person("Anna")
    await hear(stand, [erasure(anna)])
    await stand.hear(failure(anna, "ACCOUNT_CLOSED"))

    assert [status for status in await stand.statuses(anna) if status[2] == "queued"] == []
    await stand.forgetting.forget_late_news()

    assert set((await known(stand, anna)).values()) == {0}


async def test_hearing_of_an_erasure_twice_changes_nothing(stand: Newsstand) -> None:
    anna = await stand.person("Anna")

    await hear(stand, [erasure(anna), erasure(anna)])
    await hear(stand, [erasure(anna)])

    assert set((await known(stand, anna)).values()) == {0}


async def test_devices_from_before_the_owner_claimed_the_account_hear_nothing(
    stand: Newsstand,
) -> None:
    anna = await stand.person("Anna")
    await stand.db.run(
        lambda tx: people.put_device(
            tx, anna.id, device_id=DeviceId(new_id()), token="a stranger's", label="Pixel"
        )
    )
    at = await stand.db.fetchval("SELECT clock_timestamp()")
    own = await stand.db.run(
        lambda tx: people.put_device(
            tx, anna.id, device_id=DeviceId(new_id()), token="her own", label="Nokia"
        )
    )
    claim = Event(
        id=EventId(new_id()),
        type=AccountReclaimed.TYPE,
        key=str(anna.id),
        time=datetime.now(UTC),
        data={"user_id": str(anna.id), "reclaimed_at": at.isoformat()},
    )

    await hear(stand, [claim])

    assert await stand.db.run(lambda tx: people.devices(tx, anna.id)) == [own]
