"""Deliveries: to whom, signed how, in which order, and what follows from each answer."""

from __future__ import annotations

from datetime import timedelta

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from guilder.kernel.ids import UserId
from guilder.platform.db import Database
from guilder.webhooks.api import DeliveryState
from guilder.webhooks.events import EndpointDisabled
from guilder.webhooks.service.registration import Change
from tests.integration.webhooks.conftest import NewOffice
from tests.support import receivers
from tests.support.post_office import BRIEF, PostOffice, failed, paid, wallet_of
from tests.support.receivers import Receiver, answering, raw, receiving

ENABLED = Change(enabled=True)


async def test_both_sides_of_a_payment_hear_of_it_and_nobody_else(
    office: PostOffice, receiver: Receiver, anna: UserId, ben: UserId
):
    annas, of_anna = wallet_of(anna)
    bens, of_ben = wallet_of(ben)
    first, _ = await office.register(anna, receiver, "transaction.*")
    second, _ = await office.register(ben, receiver, "transaction.completed")
    async with receiving() as strangers:
        await office.register(UserId(annas), strangers)

        await office.hear(of_anna, of_ben, paid(annas, bens))
        await office.send()

        assert strangers.requests == []
    assert await office.states(first) == await office.states(second) == ["delivered"]
    assert len(set(receiver.ids)) == 2
    assert len({request.event["id"] for request in receiver.requests}) == 1


async def test_a_receiver_gets_the_event_in_its_envelope_without_the_other_sides_id(
    office: PostOffice, receiver: Receiver, anna: UserId
):
    annas, of_anna = wallet_of(anna)
    await office.register(anna, receiver, "transaction.*")
    happened = paid(None, annas)

    await office.hear(of_anna, happened)
    await office.send()

    (request,) = receiver.requests
    assert request.headers["content-type"] == "application/cloudevents+json"
    assert request.event | {"time": None, "data": None} == {
        "specversion": "1.0",
        "id": str(happened.id),
        "source": "/guilder/transaction",
        "type": "com.guilder.transaction.completed",
        "subject": happened.key,
        "time": None,
        "datacontenttype": "application/json",
        "data": None,
    }
    assert request.event["data"]["to_wallet_id"] == str(annas)
    assert "initiated_by" not in request.event["data"]


async def test_a_failed_payment_is_told_only_to_whom_tried_it(
    office: PostOffice, receiver: Receiver, anna: UserId, ben: UserId
):
    annas, of_anna = wallet_of(anna)
    bens, of_ben = wallet_of(ben)
    hers, _ = await office.register(anna, receiver, "transaction.failed")
    his, _ = await office.register(ben, receiver, "transaction.failed")

    await office.hear(of_anna, of_ben, failed(anna, annas, bens))

    assert await office.states(hers) == ["pending"]
    assert await office.states(his) == []


async def test_an_event_that_no_filter_wants_is_kept_nowhere(
    office: PostOffice, receiver: Receiver, anna: UserId, db: Database
):
    annas, of_anna = wallet_of(anna)
    endpoint, _ = await office.register(anna, receiver, "account.frozen")
    happened = paid(annas, None)

    await office.hear(of_anna, happened)

    assert await office.states(endpoint) == []
    assert not await db.fetch("SELECT 1 FROM webhooks.events WHERE id = $1", happened.id)


async def test_hearing_an_event_again_makes_no_second_delivery(
    office: PostOffice, receiver: Receiver, anna: UserId
):
    annas, of_anna = wallet_of(anna)
    endpoint, _ = await office.register(anna, receiver, "transaction.*")
    happened = paid(annas, annas)

    await office.hear(of_anna, happened, happened)
    await office.hear(happened, paid(annas, None))

    assert await office.states(endpoint) == ["pending", "pending"]
    assert await office.send() == 2


async def test_a_payment_heard_before_its_wallet_is_delivered_once_the_wallet_is_known(
    office: PostOffice, receiver: Receiver, anna: UserId
):
    annas, of_anna = wallet_of(anna)
    await office.register(anna, receiver, "transaction.*")
    early, second = paid(None, annas), paid(None, annas)

    await office.hear(early, second)
    assert await office.fan_out.route_parked() == 0
    await office.hear(of_anna)
    # with the word of the wallet, which came behind them under the same key
    assert await office.fan_out.route_parked() == 3
    await office.send()

    assert [request.event["id"] for request in receiver.requests] == [
        str(early.id),
        str(second.id),
    ]


async def test_a_payment_waits_behind_one_of_its_key_that_came_before_its_wallet(
    office: PostOffice, receiver: Receiver, anna: UserId, ben: UserId
):
    annas, of_anna = wallet_of(anna)
    bens, of_ben = wallet_of(ben)
    await office.register(anna, receiver, "transaction.*")
    first, second, third = paid(bens, annas), paid(bens, annas), paid(bens, annas)

    await office.hear(of_ben, first)
    await office.hear(of_anna, second)
    await office.hear(third)
    await office.send()
    while await office.fan_out.route_parked():
        await office.send()

    assert [request.event["id"] for request in receiver.requests] == [
        str(event.id) for event in (first, second, third)
    ]


async def test_payments_of_one_key_to_two_wallets_of_one_owner_arrive_in_order(
    office: PostOffice, receiver: Receiver, anna: UserId, ben: UserId
):
    annas, of_anna = wallet_of(anna)
    known, of_known = wallet_of(ben)
    unknown, of_unknown = wallet_of(ben)
    await office.register(ben, receiver, "transaction.*")
    first, second, third = paid(annas, unknown), paid(annas, known), paid(annas, known)

    await office.hear(of_anna, of_known, first, second)
    await office.hear(third)
    await office.send()
    assert await office.fan_out.route_parked() == 0
    await office.hear(of_unknown)
    while await office.fan_out.route_parked():
        await office.send()

    assert [request.event["id"] for request in receiver.requests] == [
        str(event.id) for event in (first, second, third)
    ]


async def test_what_names_its_people_waits_behind_what_is_put_aside_of_its_key(
    office: PostOffice, receiver: Receiver, anna: UserId, ben: UserId
):
    annas, of_anna = wallet_of(anna)
    bens, of_ben = wallet_of(ben)
    await office.register(anna, receiver, "transaction.*")
    first, second = paid(annas, bens), paid(annas, bens)
    refused = failed(anna, annas, bens)

    await office.hear(of_anna, first)
    await office.hear(second, refused)
    await office.hear(of_ben)
    while await office.fan_out.route_parked():
        await office.send()

    assert [request.event["id"] for request in receiver.requests] == [
        str(event.id) for event in (first, second, refused)
    ]


async def test_what_is_sent_verifies_with_the_secret_and_with_no_other(
    office: PostOffice, receiver: Receiver, anna: UserId
):
    endpoint, secret = await office.register(anna, receiver)
    _, another = await office.register(anna, receiver)

    await office.registration.send_test(anna, endpoint_id=endpoint.id)
    await office.send()

    (request,) = receiver.requests
    read = Webhook(secret).verify(request.body, dict(request.headers))
    assert read["type"] == "com.guilder.webhook.test"
    with pytest.raises(WebhookVerificationError):
        Webhook(another).verify(request.body, dict(request.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(request.body + b" ", dict(request.headers))


async def test_after_a_rotation_both_secrets_sign_and_then_only_the_new_one(
    office: PostOffice, new_office: NewOffice, receiver: Receiver, anna: UserId
):
    endpoint, old = await office.register(anna, receiver)
    _, new = await office.registration.rotate_secret(anna, endpoint_id=endpoint.id)
    await office.registration.send_test(anna, endpoint_id=endpoint.id)
    await office.send()
    over = new_office(overlap=timedelta(0))
    _, newest = await over.registration.rotate_secret(anna, endpoint_id=endpoint.id)
    await office.registration.send_test(anna, endpoint_id=endpoint.id)
    await office.send()

    during, after = receiver.requests
    for secret in (old, new):
        Webhook(secret).verify(during.body, dict(during.headers))
    assert len(during.headers["webhook-signature"].split(" ")) == 2
    Webhook(newest).verify(after.body, dict(after.headers))
    for secret in (old, new):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(after.body, dict(after.headers))


async def test_no_secret_is_stored_in_clear(
    office: PostOffice, receiver: Receiver, anna: UserId, db: Database
):
    endpoint, secret = await office.register(anna, receiver)

    row = await db.fetchrow("SELECT * FROM webhooks.endpoints WHERE id = $1", endpoint.id)

    assert row is not None
    assert secret not in str(dict(row))
    assert secret.removeprefix("whsec_") not in str(dict(row))


async def test_a_failing_delivery_is_tried_ten_times_under_one_id_and_given_up(
    office: PostOffice, receiver: Receiver, anna: UserId
):
    receiver.answer = answering(500, body=b"out of order")
    endpoint, _ = await office.register(anna, receiver)
    await office.registration.send_test(anna, endpoint_id=endpoint.id)

    assert await office.send() == 10

    (delivery,) = await office.deliveries(endpoint)
    assert delivery.state is DeliveryState.FAILED
    assert receiver.ids == [str(delivery.id)] * 10
    assert [attempt.number for attempt in delivery.log] == list(range(1, 11))
    assert {(a.status, a.body, a.failure) for a in delivery.log} == {(500, "out of order", None)}


async def test_a_delivery_that_succeeds_late_is_done(
    office: PostOffice, receiver: Receiver, anna: UserId
):
    receiver.answer = answering(503)
    endpoint, _ = await office.register(anna, receiver)
    await office.registration.send_test(anna, endpoint_id=endpoint.id)
    await office.worker.send_due()
    await office.worker.settled()
    receiver.answer = answering(204)

    await office.send()

    (delivery,) = await office.deliveries(endpoint)
    assert delivery.state is DeliveryState.DELIVERED
    assert [attempt.status for attempt in delivery.log] == [503, 204]
    assert (await office.endpoint(endpoint)).failing_since is None


BAD_ANSWERS = {
    "redirect": (answering(302, location="http://127.0.0.1:1/"), 302, None),
    "bad request": (answering(400), 400, None),
    "nothing": (raw(b""), None, "connection"),
    "garbage": (raw(b"\x16\x03\x01 nonsense\r\n\r\n"), None, "not_http"),
    "hangs": (receivers.hanging, None, "timeout"),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
async def test_an_answer_that_is_no_success_is_logged_and_tried_again(
    new_office: NewOffice, receiver: Receiver, anna: UserId, name: str
):
    receiver.answer, status, failure = BAD_ANSWERS[name]
    office = new_office(limits=BRIEF, waits_s=(3600,))
    endpoint, _ = await office.register(anna, receiver)
    await office.registration.send_test(anna, endpoint_id=endpoint.id)

    assert await office.send() == 1

    (delivery,) = await office.deliveries(endpoint)
    (attempt,) = delivery.log
    assert (attempt.status, attempt.failure) == (status, failure)
    assert delivery.state is DeliveryState.PENDING
    assert delivery.due_at is not None
    assert (await office.endpoint(endpoint)).failing_since is not None


@pytest.mark.parametrize(
    "answer",
    [
        receivers.flooding,
        receivers.gzip_bomb(),
        answering(200, body=b"\x00\xff" * 4),
        answering(200, body=b"\xff" * 65_536),
        answering(200, body=b"\x00" * 65_536),
        answering(200, body="₹".encode() * 21_845),
    ],
    ids=["no end", "a bomb", "no text", "much that is no text", "zeros", "three bytes each"],
)
async def test_whatever_a_body_is_two_hundred_is_done(
    office: PostOffice, receiver: Receiver, anna: UserId, answer
):
    receiver.answer = answer
    endpoint, _ = await office.register(anna, receiver)
    await office.registration.send_test(anna, endpoint_id=endpoint.id)

    await office.send()

    (delivery,) = await office.deliveries(endpoint)
    whole = await office.log.view(anna, delivery_id=delivery.id)
    assert whole.state is DeliveryState.DELIVERED
    assert len(whole.log[0].body.encode()) <= 64 * 1024
    assert "\x00" not in whole.log[0].body


async def test_retry_after_is_honoured_where_it_is_longer_than_the_schedule(
    office: PostOffice, receiver: Receiver, anna: UserId
):
    receiver.answer = answering(429, retry_after="3600")
    endpoint, _ = await office.register(anna, receiver)
    await office.registration.send_test(anna, endpoint_id=endpoint.id)

    assert await office.send() == 1

    (delivery,) = await office.deliveries(endpoint)
    assert delivery.due_at is not None
    assert delivery.due_at - delivery.log[0].started_at >= timedelta(seconds=3600)


@pytest.mark.parametrize(
    "said",
    [
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 01 Jan 0001 00:00:00 +2359",
        "Fri, 31 Dec 9999 23:59:59 -2359",
        "Mon, 01 Jan 2026 00:00:00 +99999999999999999999",
        "soon",
    ],
)
async def test_a_retry_after_that_is_no_time_is_passed_over_and_the_attempt_logged(
    new_office: NewOffice, receiver: Receiver, anna: UserId, said: str
):
    receiver.answer = answering(503, retry_after=said)
    office = new_office(waits_s=(3600,))
    endpoint, _ = await office.register(anna, receiver)
    await office.registration.send_test(anna, endpoint_id=endpoint.id)

    assert await office.send() == 1

    (delivery,) = await office.deliveries(endpoint)
    assert [attempt.status for attempt in delivery.log] == [503]
    assert delivery.state is DeliveryState.PENDING
    assert (await office.endpoint(endpoint)).failing_since is not None


async def test_gone_disables_an_endpoint_at_once_and_says_so(
    office: PostOffice, receiver: Receiver, anna: UserId, db: Database
):
    receiver.answer = answering(410)
    endpoint, _ = await office.register(anna, receiver)
    for _ in range(2):
        await office.registration.send_test(anna, endpoint_id=endpoint.id)

    assert await office.send() == 1

    now = await office.endpoint(endpoint)
    assert (now.status.value, now.disabled_reason) == ("disabled", "gone")
    told = await db.fetch(
        "SELECT data FROM platform.outbox WHERE type = $1 AND key = $2",
        EndpointDisabled.TYPE,
        str(endpoint.id),
    )
    assert len(told) == 1
    assert "127.0.0.1" in told[0]["data"]
    assert str(receiver.port) not in told[0]["data"]


async def test_an_endpoint_that_only_fails_is_disabled_after_a_while_and_goes_on_when_enabled(
    new_office: NewOffice, receiver: Receiver, anna: UserId
):
    receiver.answer = answering(500)
    office = new_office(patience=timedelta(0))
    endpoint, _ = await office.register(anna, receiver, "webhook.*", "account.*")
    _, of_anna = wallet_of(anna)
    await office.registration.send_test(anna, endpoint_id=endpoint.id)
    assert await office.send() == 1
    disabled = await office.endpoint(endpoint)
    receiver.answer = answering(200)
    await office.hear(of_anna)
    assert await office.send() == 0

    await office.registration.change(anna, endpoint_id=endpoint.id, change=ENABLED)
    await office.send()

    assert disabled.disabled_reason == "failing"
    assert await office.states(endpoint) == ["delivered", "skipped"]
    assert office.figure("guilder_webhook_endpoints_disabled_total", reason="failing") == 1


async def test_an_address_that_turned_private_is_refused_at_the_call(
    new_office: NewOffice, receiver: Receiver, anna: UserId
):
    open_, closed = new_office(), new_office(allow=())
    endpoint, _ = await open_.register(anna, receiver)
    await open_.registration.send_test(anna, endpoint_id=endpoint.id)

    await closed.worker.send_due()
    await closed.worker.settled()

    (delivery,) = await open_.deliveries(endpoint)
    assert delivery.log[0].failure == "address_refused"
    assert receiver.requests == []
