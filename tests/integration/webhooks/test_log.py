"""The delivery log: what owners read in it, and what they send again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from guilder.kernel.ids import UserId
from guilder.platform.db import Database
from guilder.webhooks.api import (
    DeliveryNotFound,
    DeliveryState,
    EndpointIsDisabled,
    EndpointNotFound,
    StillPending,
    TooManyReplays,
)
from guilder.webhooks.service.clearing import KEPT_FOR, Clearing
from guilder.webhooks.service.registration import Change
from guilder.webhooks.service.replays import DeliveryLog
from guilder.webhooks.store import deliveries
from tests.integration.webhooks.conftest import NewOffice
from tests.support.post_office import PostOffice, paid, wallet_of
from tests.support.receivers import Receiver, answering, receiving
from tests.support.tampering import Connection

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
LATER = datetime(2100, 1, 1, tzinfo=UTC)


async def test_a_replay_is_sent_under_the_old_id_and_logged_behind_the_rest(
    office: PostOffice, receiver: Receiver, anna: UserId
):
    endpoint, _ = await office.register(anna, receiver)
    delivery_id = await office.registration.send_test(anna, endpoint_id=endpoint.id)
    await office.send()

    await office.log.replay(anna, delivery_id=delivery_id)
    await office.send()

    assert receiver.ids == [str(delivery_id)] * 2
    assert receiver.requests[0].body == receiver.requests[1].body
    (delivery,) = await office.deliveries(endpoint)
    assert [attempt.number for attempt in delivery.log] == [1, 2]
    assert delivery.state is DeliveryState.DELIVERED


async def test_a_replay_of_what_was_given_up_begins_the_schedule_again(
    office: PostOffice, receiver: Receiver, anna: UserId
):
    receiver.answer = answering(500)
    endpoint, _ = await office.register(anna, receiver)
    delivery_id = await office.registration.send_test(anna, endpoint_id=endpoint.id)
    await office.send()

    await office.log.replay(anna, delivery_id=delivery_id)

    assert await office.send() == 10
    assert (await office.log.view(anna, delivery_id=delivery_id)).attempts == 20


async def test_of_many_attempts_the_last_answers_are_kept_and_shown(
    office: PostOffice, receiver: Receiver, anna: UserId, db: Database
):
    receiver.answer = answering(500, body=b"out of order")
    endpoint, _ = await office.register(anna, receiver)
    delivery_id = await office.registration.send_test(anna, endpoint_id=endpoint.id)
    await office.send()
    for _ in range(2):
        await office.log.replay(anna, delivery_id=delivery_id)
        await office.send()

    (listed,) = await office.deliveries(endpoint)
    whole = await office.log.view(anna, delivery_id=delivery_id)

    numbers = [attempt.number for attempt in whole.log]
    answered = [attempt.number for attempt in whole.log if attempt.body]
    assert (listed.attempts, whole.attempts) == (30, 30)
    assert [attempt.number for attempt in listed.log] == list(range(21, 31))
    assert (numbers, answered) == (list(range(1, 31)), list(range(21, 31)))
    assert {(one.body, one.is_cut) for one in whole.log} == {("", True), ("out of order", False)}
    assert {one.status for one in whole.log} == {500}
    kept = "SELECT count(*) FROM webhooks.attempts WHERE body <> '' OR headers <> '[]'"
    assert await db.fetchval(kept) == 10


async def test_a_delivery_shows_no_more_attempts_than_its_last_hundred(
    office: PostOffice, receiver: Receiver, anna: UserId, superuser: Connection
):
    endpoint, _ = await office.register(anna, receiver)
    delivery_id = await office.registration.send_test(anna, endpoint_id=endpoint.id)
    await office.send()
    await superuser.execute(
        "INSERT INTO webhooks.attempts SELECT delivery_id, n, started_at, duration_ms, status, "
        "failure, headers, 'kept long ago', false FROM webhooks.attempts, generate_series(2, 150) n"
    )
    await superuser.execute("UPDATE webhooks.deliveries SET attempts = 150")

    whole = await office.log.view(anna, delivery_id=delivery_id)

    assert [attempt.number for attempt in whole.log] == list(range(51, 151))
    assert [attempt.number for attempt in whole.log if attempt.body] == list(range(141, 151))


async def test_nobody_replays_more_in_a_day_than_one_may(
    office: PostOffice, receiver: Receiver, anna: UserId, ben: UserId, superuser: Connection
):
    log = DeliveryLog(office.db, at_once=4, most_a_day=3)
    endpoints = {owner: (await office.register(owner, receiver))[0] for owner in (anna, ben)}
    sent = {
        owner: await office.registration.send_test(owner, endpoint_id=endpoint.id)
        for owner, endpoint in endpoints.items()
        for _ in range(2)
    }
    window = {"since": LONG_AGO, "until": LATER}
    await office.send()
    await log.replay_range(anna, endpoint_id=endpoints[anna].id, **window)
    await office.send()

    with pytest.raises(TooManyReplays):
        await log.replay_range(anna, endpoint_id=endpoints[anna].id, **window)
    await log.replay(anna, delivery_id=sent[anna])
    await office.send()
    with pytest.raises(TooManyReplays):
        await log.replay(anna, delivery_id=sent[anna])
    assert await log.replay_range(ben, endpoint_id=endpoints[ben].id, **window) == 2
    await office.send()

    assert len(receiver.requests) == 4 + 2 + 1 + 2
    await superuser.execute("UPDATE webhooks.replays SET day = day - 1")
    await log.replay(anna, delivery_id=sent[anna])
    await Clearing(office.db).clear()
    await office.send()
    assert await office.db.fetchval("SELECT count(*) FROM webhooks.replays") == 1


async def test_what_is_on_its_way_is_not_replayed(
    office: PostOffice, receiver: Receiver, anna: UserId
):
    endpoint, _ = await office.register(anna, receiver)
    delivery_id = await office.registration.send_test(anna, endpoint_id=endpoint.id)

    with pytest.raises(StillPending):
        await office.log.replay(anna, delivery_id=delivery_id)

    assert await office.send() == 1


async def test_what_would_be_tried_again_tomorrow_is_tried_now_when_its_owner_says_so(
    new_office: NewOffice, receiver: Receiver, anna: UserId
):
    office = new_office(waits_s=(86_400.0,))
    receiver.answer = answering(500)
    annas, of_anna = wallet_of(anna)
    endpoint, _ = await office.register(anna, receiver, "transaction.*")
    await office.hear(of_anna, paid(annas, None), paid(annas, None))
    await office.send()
    first, second = await office.deliveries(endpoint)
    receiver.answer = answering(200)

    with pytest.raises(StillPending):
        await office.log.replay(anna, delivery_id=second.id)
    await office.log.replay(anna, delivery_id=first.id)
    await office.send()

    assert receiver.ids == [str(first.id), str(first.id), str(second.id)]
    assert await office.findings() == []


async def test_another_url_has_not_failed_yet_and_gets_at_once_what_waits(
    new_office: NewOffice, receiver: Receiver, anna: UserId
):
    office = new_office(waits_s=(86_400.0,))
    receiver.answer = answering(500)
    endpoint, _ = await office.register(anna, receiver)
    await office.registration.send_test(anna, endpoint_id=endpoint.id)
    await office.send()
    failing = await office.endpoint(endpoint)
    async with receiving() as elsewhere:
        await office.registration.change(
            anna, endpoint_id=endpoint.id, change=Change(description="the old server")
        )
        still = await office.endpoint(endpoint)

        await office.registration.change(
            anna, endpoint_id=endpoint.id, change=Change(url=elsewhere.url)
        )
        changed = await office.endpoint(endpoint)
        await office.send()

        assert failing.failing_since == still.failing_since is not None
        assert changed.failing_since is None
        assert elsewhere.ids == receiver.ids
    assert await office.states(endpoint) == ["delivered"]


async def test_a_replay_waits_behind_what_is_pending_for_its_key(
    office: PostOffice, receiver: Receiver, anna: UserId
):
    annas, of_anna = wallet_of(anna)
    endpoint, _ = await office.register(anna, receiver, "transaction.*")
    first, second = paid(annas, None), paid(annas, None)
    await office.hear(of_anna, first)
    await office.send()
    await office.hear(second)

    await office.log.replay(anna, delivery_id=(await office.deliveries(endpoint))[0].id)
    await office.send()

    assert [request.event["id"] for request in receiver.requests] == [
        str(first.id),
        str(second.id),
        str(first.id),
    ]


async def test_a_time_range_is_replayed_in_order_with_what_was_skipped(
    office: PostOffice, receiver: Receiver, anna: UserId
):
    annas, of_anna = wallet_of(anna)
    endpoint, _ = await office.register(anna, receiver, "transaction.*")
    happened = [paid(annas, None) for _ in range(4)]
    await office.hear(of_anna, happened[0])
    await office.send()
    await office.registration.change(anna, endpoint_id=endpoint.id, change=Change(enabled=False))
    await office.hear(*happened[1:])
    skipped = await office.states(endpoint)
    await office.registration.change(anna, endpoint_id=endpoint.id, change=Change(enabled=True))
    assert await office.send() == 0

    count = await office.log.replay_range(
        anna, endpoint_id=endpoint.id, since=LONG_AGO, until=LATER
    )
    await office.send()

    assert skipped == ["delivered", "skipped", "skipped", "skipped"]
    assert count == 4
    assert [request.event["id"] for request in receiver.requests[1:]] == [
        str(event.id) for event in happened
    ]


async def test_a_range_that_holds_nothing_replays_nothing(
    office: PostOffice, receiver: Receiver, anna: UserId
):
    endpoint, _ = await office.register(anna, receiver)
    await office.registration.send_test(anna, endpoint_id=endpoint.id)
    await office.send()

    count = await office.log.replay_range(
        anna, endpoint_id=endpoint.id, since=LONG_AGO, until=LONG_AGO + timedelta(days=1)
    )

    assert count == 0
    assert await office.send() == 0


async def test_nothing_is_replayed_to_a_disabled_endpoint(
    office: PostOffice, receiver: Receiver, anna: UserId
):
    endpoint, _ = await office.register(anna, receiver)
    delivery_id = await office.registration.send_test(anna, endpoint_id=endpoint.id)
    await office.send()
    await office.registration.change(anna, endpoint_id=endpoint.id, change=Change(enabled=False))

    with pytest.raises(EndpointIsDisabled):
        await office.log.replay(anna, delivery_id=delivery_id)
    with pytest.raises(EndpointIsDisabled):
        await office.log.replay_range(anna, endpoint_id=endpoint.id, since=LONG_AGO, until=LATER)
    with pytest.raises(EndpointIsDisabled):
        await office.registration.send_test(anna, endpoint_id=endpoint.id)

    assert len(receiver.requests) == 1


async def test_an_endpoint_and_its_log_are_its_owners_alone(
    office: PostOffice, receiver: Receiver, anna: UserId, ben: UserId
):
    endpoint, _ = await office.register(anna, receiver)
    delivery_id = await office.registration.send_test(anna, endpoint_id=endpoint.id)
    await office.send()
    attempts = [
        office.registration.view(ben, endpoint_id=endpoint.id),
        office.registration.change(ben, endpoint_id=endpoint.id, change=Change(enabled=False)),
        office.registration.delete(ben, endpoint_id=endpoint.id),
        office.registration.rotate_secret(ben, endpoint_id=endpoint.id),
        office.registration.send_test(ben, endpoint_id=endpoint.id),
        office.log.list_deliveries(ben, endpoint_id=endpoint.id, before=None, state=None, limit=1),
        office.log.replay_range(ben, endpoint_id=endpoint.id, since=LONG_AGO, until=LATER),
    ]

    for attempt in attempts:
        with pytest.raises(EndpointNotFound):
            await attempt
    for look in (
        office.log.view(ben, delivery_id=delivery_id),
        office.log.replay(ben, delivery_id=delivery_id),
    ):
        with pytest.raises(DeliveryNotFound):
            await look

    assert (await office.endpoint(endpoint)).status.value == "enabled"
    assert len(receiver.requests) == 1


async def test_a_deleted_endpoint_is_sent_nothing_and_is_cleared_away(
    office: PostOffice, receiver: Receiver, anna: UserId, db: Database
):
    endpoint, secret = await office.register(anna, receiver)
    await office.registration.send_test(anna, endpoint_id=endpoint.id)

    await office.registration.delete(anna, endpoint_id=endpoint.id)
    assert await office.send() == 0
    await Clearing(db).clear()

    with pytest.raises(EndpointNotFound):
        await office.endpoint(endpoint)
    assert secret
    assert await db.fetchval("SELECT count(*) FROM webhooks.deliveries") == 0
    assert await db.fetchval("SELECT count(*) FROM webhooks.endpoints") == 0


async def test_what_is_old_is_cleared_away_and_what_is_pending_is_kept(
    office: PostOffice, receiver: Receiver, anna: UserId, superuser: Connection, db: Database
):
    endpoint, _ = await office.register(anna, receiver)
    for _ in range(2):
        await office.registration.send_test(anna, endpoint_id=endpoint.id)
        await office.send()
    await office.registration.send_test(anna, endpoint_id=endpoint.id)
    await superuser.execute(
        "UPDATE webhooks.deliveries SET created_at = created_at - interval '31 days' "
        "WHERE position <> (SELECT min(position) FROM webhooks.deliveries)"
    )
    await superuser.execute(
        "UPDATE webhooks.events SET occurred_at = occurred_at - interval '31 days'"
    )

    await Clearing(db).clear()

    assert await office.states(endpoint) == ["delivered", "pending"]
    assert await db.fetchval("SELECT count(*) FROM webhooks.attempts") == 1
    assert await db.fetchval("SELECT count(*) FROM webhooks.events") == 2


async def test_what_waits_for_a_disabled_endpoint_outlives_clearing_and_goes_on_in_order(
    office: PostOffice, receiver: Receiver, anna: UserId, superuser: Connection, db: Database
):
    annas, of_anna = wallet_of(anna)
    endpoint, _ = await office.register(anna, receiver, "transaction.*")
    happened = [paid(annas, None) for _ in range(3)]
    await office.hear(of_anna, *happened)
    await office.registration.change(anna, endpoint_id=endpoint.id, change=Change(enabled=False))
    await superuser.execute(
        "UPDATE webhooks.deliveries SET created_at = created_at - interval '31 days' "
        "WHERE position = (SELECT min(position) FROM webhooks.deliveries)"
    )

    await Clearing(db).clear()
    await office.registration.change(anna, endpoint_id=endpoint.id, change=Change(enabled=True))
    await office.send()

    assert [request.event["id"] for request in receiver.requests] == [
        str(event.id) for event in happened
    ]


async def test_many_deliveries_are_cleared_away_piece_by_piece(
    office: PostOffice, receiver: Receiver, anna: UserId, db: Database
):
    annas, of_anna = wallet_of(anna)
    endpoint, _ = await office.register(anna, receiver, "transaction.*")
    await office.hear(of_anna, *(paid(annas, None) for _ in range(5)))
    await office.registration.delete(anna, endpoint_id=endpoint.id)
    first = await db.run(lambda tx: deliveries.clear(tx, older_than=KEPT_FOR, most=2))
    half_way = await office.findings()

    await Clearing(db).clear()

    assert first == 2
    assert half_way == []
    assert await db.fetchval("SELECT count(*) FROM webhooks.deliveries") == 0


TAMPERINGS = {
    "a delivery has its endpoint": "DELETE FROM webhooks.endpoints",
    "a delivery has its event": "DELETE FROM webhooks.events",
    "the first of a line is due": "UPDATE webhooks.deliveries SET due_at = NULL",
    "only the first of a line is due": "UPDATE webhooks.deliveries SET due_at = now()",
    "attempts are in the log": "DELETE FROM webhooks.attempts",
    "a delivered one succeeded": "UPDATE webhooks.attempts SET status = 500",
    "an endpoint is looked at": "UPDATE webhooks.endpoints SET next_due_at = NULL",
}


@pytest.mark.parametrize("edit", TAMPERINGS.values(), ids=TAMPERINGS.keys())
async def test_verify_finds_what_was_edited(
    office: PostOffice, receiver: Receiver, anna: UserId, superuser: Connection, edit: str
):
    annas, of_anna = wallet_of(anna)
    await office.register(anna, receiver, "transaction.*")
    await office.hear(of_anna, paid(annas, None))
    await office.send()
    await office.hear(paid(annas, None), paid(annas, None))
    assert await office.findings() == []

    await superuser.execute(edit)

    assert await office.findings() != []
    await superuser.execute("TRUNCATE webhooks.endpoints, webhooks.deliveries, webhooks.attempts")
