"""Whoever is erased, or was never the owner, has no endpoints any more."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from guilder.identity.events import AccountReclaimed
from guilder.identity.events.staff import UserErased
from guilder.kernel.ids import EventId, UserId
from guilder.platform.bus import Event
from guilder.platform.identifiers import new_id
from guilder.webhooks.api import EndpointNotFound
from guilder.webhooks.consumers import subscriptions
from guilder.webhooks.service.registration import BEFORE_ALL
from tests.support.post_office import PostOffice
from tests.support.receivers import Receiver


async def hear_of(office: PostOffice, user_id: UserId) -> None:
    data = {"user_id": str(user_id), "by": None, "reason": "by letter", "erased_at": "now"}
    await hear(office, UserErased.TYPE, user_id, data)


async def hear(office: PostOffice, type_: str, user_id: UserId, data: dict[str, Any]) -> None:
    event = Event(
        id=EventId(new_id()), type=type_, key=str(user_id), time=datetime.now(UTC), data=data
    )
    (subscription,) = [
        one
        for one in subscriptions(office.fan_out, office.registration)
        if type_ in (one.types or ())
    ]
    await office.db.run(lambda tx: subscription.hear(tx, [event]))


async def test_the_endpoints_of_somebody_erased_are_gone_and_others_stay(
    office: PostOffice, receiver: Receiver, anna: UserId, ben: UserId
) -> None:
    annas = [(await office.register(anna, receiver))[0] for _ in range(2)]
    bens, _ = await office.register(ben, receiver)

    await hear_of(office, anna)
    await hear_of(office, anna)

    assert await office.registration.list_endpoints(anna, after=BEFORE_ALL, limit=9) == []
    for endpoint in annas:
        with pytest.raises(EndpointNotFound):
            await office.endpoint(endpoint)
    assert await office.endpoint(bens) == bens
    told = await office.db.fetchval(
        "SELECT count(*) FROM platform.outbox WHERE type = $1 AND key = ANY($2::text[])",
        "com.guilder.webhook.endpoint_deleted",
        [str(endpoint.id) for endpoint in annas],
    )
    assert told == 2


async def test_what_was_registered_before_the_owner_claimed_the_account_ends(
    office: PostOffice, receiver: Receiver, anna: UserId
) -> None:
    strangers, _ = await office.register(anna, receiver)
    at = await office.db.fetchval("SELECT clock_timestamp()")
    annas, _ = await office.register(anna, receiver)
    data = {"user_id": str(anna), "reclaimed_at": at.isoformat()}

    await hear(office, AccountReclaimed.TYPE, anna, data)
    await hear(office, AccountReclaimed.TYPE, anna, data)

    assert await office.registration.list_endpoints(anna, after=BEFORE_ALL, limit=9) == [annas]
    with pytest.raises(EndpointNotFound):
        await office.endpoint(strangers)
    again, _ = await office.register(anna, receiver)
    assert await office.endpoint(again) == again
