"""What people choose and what staff ask for is published, for whoever keeps records."""

from __future__ import annotations

from datetime import time
from typing import Any

import msgspec

from guilder.kernel.ids import UserId
from guilder.notifications.api import Category, Channel
from guilder.notifications.domain.preferences import Preferences, QuietHours
from guilder.platform import origin
from guilder.platform.identifiers import new_id
from guilder.platform.origin import NOWHERE, Origin
from tests.support.newsstand import DEFAULT, Newsstand, Person, registration

OF = """
    SELECT type, data, actor_id, request_id FROM platform.outbox
    WHERE key = $1 AND type LIKE 'com.guilder.notification.%' ORDER BY position
"""


async def told_of(stand: Newsstand, person: Person) -> list[tuple[str, dict[str, Any]]]:
    """What was published of somebody: its type without the prefix, and what it says."""
    return [
        (row["type"].removeprefix("com.guilder.notification."), msgspec.json.decode(row["data"]))
        for row in await stand.db.fetch(OF, str(person.id))
    ]


async def test_a_choice_is_told_with_what_held_before_and_only_if_it_changes_something(
    stand: Newsstand,
) -> None:
    anna = await stand.person("Anna")
    chosen = Preferences(
        language="hi",
        time_zone="Asia/Kolkata",
        quiet=QuietHours(start=time(22), end=time(7)),
        choices={(Category.PAYMENTS, Channel.SMS): True},
    )

    await stand.choosing.choose(anna.id, DEFAULT)
    await stand.choosing.choose(anna.id, chosen)
    await stand.choosing.choose(anna.id, chosen)

    ((kind, said),) = await told_of(stand, anna)
    assert kind == "preferences_changed"
    assert said["before"] == {"channels": {}}
    assert said["after"] == {"channels": {"payments": {"sms": True}}}
    assert said["personal"]["before"]["language"] == DEFAULT.language
    assert said["personal"]["after"] == {
        "language": "hi",
        "time_zone": "Asia/Kolkata",
        "quiet_from": "22:00:00",
        "quiet_until": "07:00:00",
    }


async def test_a_device_is_told_of_when_it_comes_moves_and_goes_and_never_its_token(
    stand: Newsstand,
) -> None:
    anna, ben, token = await stand.person("Anna"), await stand.person("Ben"), f"t-{new_id()}"

    hers = await stand.choosing.add_device(anna.id, token=token, label="Anna's phone")
    await stand.choosing.add_device(anna.id, token=token, label="Anna's phone")
    his = await stand.choosing.add_device(ben.id, token=token, label="Ben's phone")
    await stand.choosing.forget_device(ben.id, device_id=his.id)

    def saying(device_id: object, user: Person) -> dict[str, str]:
        return {"device_id": str(device_id), "user_id": str(user.id)}

    assert await told_of(stand, anna) == [
        ("device_added", saying(hers.id, anna)),
        ("device_removed", saying(hers.id, anna)),
    ]
    assert await told_of(stand, ben) == [
        ("device_added", saying(his.id, ben)),
        ("device_removed", saying(his.id, ben)),
    ]


async def test_it_says_who_chose_in_which_request(stand: Newsstand) -> None:
    anna = await stand.person("Anna")
    origin.begin(Origin(anna.id, "request-7"))

    await stand.choosing.add_device(anna.id, token=f"t-{new_id()}", label="phone")

    (row,) = await stand.db.fetch(OF, str(anna.id))
    assert (row["actor_id"], row["request_id"]) == (anna.id, "request-7")


async def test_a_message_of_staff_is_told_of_with_who_asked_in_which_request_until_it_is_sent(
    stand: Newsstand,
) -> None:
    anna, ada = await stand.person("Anna"), UserId(new_id())
    words = {"subject": "Closed on Monday", "text": "Back on Tuesday."}
    message_id = new_id()
    origin.begin(Origin(ada, "request-9", "ab" * 16))
    for _ in range(2):
        await stand.sending.send(
            anna.id, channel=Channel.EMAIL, template="message", values=words, message_id=message_id
        )
    origin.begin(NOWHERE)
    await stand.hear(registration(anna))
    await stand.courier().deliver()

    rows = await stand.db.fetch(
        "SELECT type, data::text, actor_id, request_id, trace_id FROM platform.outbox "
        "WHERE key = $1 AND data->>'template' = 'message' ORDER BY position",
        str(anna.id),
    )
    assert [row["type"] for row in rows] == [
        "com.guilder.notification.requested",
        "com.guilder.notification.sent",
    ]
    assert {(row["actor_id"], row["request_id"], row["trace_id"]) for row in rows} == {
        (ada, "request-9", "ab" * 16)
    }
    assert not [row for row in rows if "Tuesday" in row["data"]]
    welcomed = await stand.db.fetchval(
        "SELECT actor_id FROM platform.outbox WHERE key = $1 AND data->>'template' = 'welcome'",
        str(anna.id),
    )
    assert welcomed is None
