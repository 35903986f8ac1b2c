"""Several workers, some of which die or freeze, and receivers that are slow: order, ids, places."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack

import pytest

from guilder.kernel.ids import UserId
from guilder.platform import failpoints
from guilder.platform.bus import Event
from guilder.webhooks.api import DeliveryState, EndpointStatus
from guilder.webhooks.domain.records import Endpoint
from guilder.webhooks.service.registration import Change
from guilder.webhooks.service.sending import AFTER_SEND, BEFORE_SEND
from tests.integration.webhooks.conftest import NewOffice
from tests.support import receivers
from tests.support.bank import person
from tests.support.post_office import BRIEF, PostOffice, paid, wallet_of, working
from tests.support.receivers import Answer, Receiver, answering, receiving
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def nothing_armed() -> Iterator[None]:
    yield
    failpoints.arm("")


def first_failing(count: int, then: Answer) -> Answer:
    """Says 500 ``count`` times."""
    left = [count]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left[0] -= 1
        await (answering(500) if left[0] >= 0 else then)(reader, writer)

    return answer


def held_up(go_on: asyncio.Event, *, then: Answer) -> Answer:
    """Answers once it may, and not before."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        await then(reader, writer)

    return answer


async def test_events_of_one_key_arrive_in_order_whatever_fails_and_however_many_send(
    office: PostOffice, receiver: Receiver, anna: UserId
):
    annas, of_anna = wallet_of(anna)
    endpoint, _ = await office.register(anna, receiver, "transaction.*")
    happened = [paid(annas, None) for _ in range(12)]
    receiver.answer = first_failing(5, answering(200))

    async with working(office.worker), working(office.another_worker()):
        for event in [of_anna, *happened]:
            await office.hear(event)
        await until(lambda: all_are(office, endpoint, DeliveryState.DELIVERED), "all are delivered")

    seen = list(dict.fromkeys(request.event["id"] for request in receiver.requests))
    assert seen == [str(event.id) for event in happened]
    assert len(receiver.requests) == 12 + 5


async def test_what_waits_behind_a_failing_delivery_goes_once_that_is_given_up(
    new_office: NewOffice, receiver: Receiver, anna: UserId
):
    office = new_office(waits_s=(0.0,))
    annas, of_anna = wallet_of(anna)
    endpoint, _ = await office.register(anna, receiver, "transaction.*")
    first, second = paid(annas, None), paid(annas, None)
    receiver.answer = first_failing(2, answering(200))

    await office.hear(of_anna, first, second)
    await office.send()

    assert await office.states(endpoint) == ["failed", "delivered"]
    assert [request.event["id"] for request in receiver.requests] == [
        str(first.id),
        str(first.id),
        str(second.id),
    ]


async def test_another_key_does_not_wait_for_one_that_fails(
    new_office: NewOffice, receiver: Receiver, anna: UserId
):
    office = new_office(waits_s=(3600.0,))
    annas, of_anna = wallet_of(anna)
    others, of_other = wallet_of(anna)
    endpoint, _ = await office.register(anna, receiver, "transaction.*")
    receiver.answer = first_failing(1, answering(200))

    await office.hear(of_anna, of_other, paid(annas, None), paid(annas, None), paid(others, None))
    await office.send()

    assert await office.states(endpoint) == ["pending", "pending", "delivered"]


@pytest.mark.parametrize(("point", "requests"), [(BEFORE_SEND, 1), (AFTER_SEND, 2)])
async def test_a_worker_that_dies_leaves_its_delivery_to_another_under_the_same_id(
    new_office: NewOffice, receiver: Receiver, anna: UserId, point: str, requests: int
):
    office = new_office(limits=BRIEF)
    endpoint, _ = await office.register(anna, receiver)
    await office.registration.send_test(anna, endpoint_id=endpoint.id)
    failpoints.arm(f"{point}=hit:1:raise")

    await office.worker.send_due()
    await office.worker.settled()
    async with working(office.another_worker()):
        await until(
            lambda: all_are(office, endpoint, DeliveryState.DELIVERED), "another has sent it"
        )

    (delivery,) = await office.deliveries(endpoint)
    assert receiver.ids == [str(delivery.id)] * requests
    assert [attempt.number for attempt in delivery.log] == [1]


async def test_a_worker_that_froze_after_sending_writes_nothing_down(
    new_office: NewOffice, receiver: Receiver, anna: UserId
):
    office = new_office(limits=BRIEF)
    endpoint, _ = await office.register(anna, receiver)
    await office.registration.send_test(anna, endpoint_id=endpoint.id)
    failpoints.arm(f"{AFTER_SEND}=hit:1:sleep:8000")

    await office.worker.send_due()
    async with working(office.another_worker()):
        await receiver.received(2)
        await office.worker.settled()

    (delivery,) = await office.deliveries(endpoint)
    assert receiver.ids == [str(delivery.id)] * 2
    assert (delivery.state, delivery.attempts) == (DeliveryState.DELIVERED, 1)
    assert office.figure("guilder_webhook_fenced_total") == 1
    assert await office.findings() == []


async def test_a_worker_that_froze_before_sending_does_not_send(
    new_office: NewOffice, receiver: Receiver, anna: UserId
):
    office = new_office(limits=BRIEF)
    endpoint, _ = await office.register(anna, receiver)
    await office.registration.send_test(anna, endpoint_id=endpoint.id)
    failpoints.arm(f"{BEFORE_SEND}=hit:1:sleep:8000")

    await office.worker.send_due()
    async with working(office.another_worker()):
        await receiver.received(1)
        await office.worker.settled()

    assert len(receiver.requests) == 1
    assert await office.states(endpoint) == ["delivered"]


async def test_receivers_that_hang_delay_nobody_else(
    new_office: NewOffice, receiver: Receiver, anna: UserId, ben: UserId
):
    office = new_office(most=4, most_slow=20)
    annas, of_anna = wallet_of(anna)
    bens, of_ben = wallet_of(ben)
    quick, _ = await office.register(ben, receiver, "transaction.*")
    async with AsyncExitStack() as stack:
        stuck = [await stack.enter_async_context(receiving(receivers.hanging)) for _ in range(10)]
        for one in stuck:
            await office.register(anna, one, "transaction.*")
        async with working(office.worker):
            await office.hear(of_anna, *(paid(annas, None) for _ in range(3)))
            for one in stuck:
                await one.received(1)

            await office.hear(of_ben, *(paid(bens, None) for _ in range(20)))
            await until(
                lambda: all_are(office, quick, DeliveryState.DELIVERED), "the other has all"
            )

            assert all(len(one.requests) == 1 for one in stuck)
            assert office.figure("guilder_webhook_requests_under_way", lane="slow") >= 10
            # let go of the callers, so that the worker can end
            await stack.aclose()


async def test_receivers_that_were_quick_and_hang_delay_nobody_else(
    new_office: NewOffice, receiver: Receiver, anna: UserId, ben: UserId
):
    office = new_office(most=8, most_of_one=6, slow_ms=60_000)
    bens, _ = await office.register(ben, receiver)
    async with AsyncExitStack() as stack:
        hers = [await stack.enter_async_context(receiving()) for _ in range(2)]
        annas = [(await office.register(anna, one))[0] for one in hers]
        for endpoint in (bens, *annas):
            await office.registration.send_test(endpoint.owner_id, endpoint_id=endpoint.id)
        await office.send()
        for one, endpoint in zip(hers, annas, strict=True):
            one.answer = receivers.hanging
            for _ in range(8):
                await office.registration.send_test(anna, endpoint_id=endpoint.id)
        begun = await office.worker.send_due()

        await office.registration.send_test(ben, endpoint_id=bens.id)
        begun_then = await office.worker.send_due()
        await receiver.received(2)

        assert (begun, begun_then) == (6, 1)
        await stack.aclose()
        await office.worker.settled()


async def test_a_few_people_whose_receivers_hang_leave_places_to_who_is_new(
    new_office: NewOffice, receiver: Receiver, ben: UserId
):
    office = new_office(most_slow=8, most_of_one=4, few_of_one=1)
    bens, _ = await office.register(ben, receiver)
    async with AsyncExitStack() as stack:
        stuck = await stack.enter_async_context(receiving(receivers.hanging))
        for owner_id in (person(), person()):
            for _ in range(4):
                theirs, _ = await office.register(owner_id, stuck)
                await office.registration.send_test(owner_id, endpoint_id=theirs.id)
        begun = await office.worker.send_due()

        await office.registration.send_test(ben, endpoint_id=bens.id)
        begun_then = await office.worker.send_due()
        await receiver.received(1)

        assert begun < office.plan.most_slow
        assert begun_then == 1
        await stack.aclose()
        await office.worker.settled()


async def test_a_request_that_lasts_gives_its_place_to_the_quick(
    new_office: NewOffice, receiver: Receiver, anna: UserId, ben: UserId
):
    office, hurried = new_office(slow_ms=60_000), new_office(most=4, slow_ms=10)
    bens, _ = await office.register(ben, receiver)
    async with AsyncExitStack() as stack:
        hers = await stack.enter_async_context(receiving())
        annas, _ = await office.register(anna, hers)
        for endpoint in (bens, annas):
            await office.registration.send_test(endpoint.owner_id, endpoint_id=endpoint.id)
        await office.send()
        hers.answer = receivers.hanging
        for _ in range(4):
            await office.registration.send_test(anna, endpoint_id=annas.id)
        async with working(hurried.worker):
            await hers.received(5)
            await office.registration.send_test(ben, endpoint_id=bens.id)
            await receiver.received(2)

            assert hurried.figure("guilder_webhook_requests_under_way", lane="slow") >= 1
            # let go of the callers, so that the worker can end
            await stack.aclose()


async def test_an_endpoint_has_no_more_requests_under_way_than_it_may(
    new_office: NewOffice, receiver: Receiver, anna: UserId
):
    office = new_office(at_once=3)
    endpoint, _ = await office.register(anna, receiver)
    await office.registration.send_test(anna, endpoint_id=endpoint.id)
    await office.send()
    receiver.answer = receivers.hanging
    for _ in range(8):
        await office.registration.send_test(anna, endpoint_id=endpoint.id)

    begun = [await office.worker.send_due(), await office.another_worker().send_due()]

    assert begun == [3, 0]
    await receiver.received(4)


async def test_what_waits_for_a_worker_can_be_seen(
    office: PostOffice, receiver: Receiver, anna: UserId
):
    endpoint, _ = await office.register(anna, receiver)
    await office.worker.measure()
    idle = office.figure("guilder_webhook_overdue_seconds")
    await office.registration.send_test(anna, endpoint_id=endpoint.id)

    await office.worker.measure()

    assert idle == 0
    assert office.figure("guilder_webhook_overdue_seconds") > 0
    assert await office.send() == 1


async def test_an_endpoint_that_was_slow_is_asked_one_at_a_time_until_it_is_quick(
    new_office: NewOffice, receiver: Receiver, anna: UserId
):
    office = new_office(slow_ms=-1, at_once=4)
    endpoint, _ = await office.register(anna, receiver)
    for _ in range(3):
        await office.registration.send_test(anna, endpoint_id=endpoint.id)

    begun = []
    while count := await office.worker.send_due():
        begun.append(count)
        await office.worker.settled()

    assert begun == [1, 1, 1]


async def test_a_worker_that_is_stopped_ends_what_it_began(
    office: PostOffice, receiver: Receiver, anna: UserId
):
    go_on = asyncio.Event()
    receiver.answer = held_up(go_on, then=answering(200))
    endpoint, _ = await office.register(anna, receiver)
    await office.registration.send_test(anna, endpoint_id=endpoint.id)

    async with working(office.worker):
        await receiver.received(1)
        asyncio.get_running_loop().call_soon(go_on.set)

    assert await office.states(endpoint) == ["delivered"]


@pytest.mark.parametrize("status", [410, 500])
async def test_what_the_server_of_an_old_url_answers_says_nothing_of_the_new_one(
    new_office: NewOffice, receiver: Receiver, anna: UserId, status: int
):
    office, go_on = new_office(waits_s=(3600.0,)), asyncio.Event()
    receiver.answer = held_up(go_on, then=answering(status))
    endpoint, _ = await office.register(anna, receiver)
    await office.registration.send_test(anna, endpoint_id=endpoint.id)
    await office.worker.send_due()
    await receiver.received(1)
    async with receiving(answering(503)) as another:
        await office.registration.change(
            anna, endpoint_id=endpoint.id, change=Change(url=another.url)
        )

        go_on.set()
        await office.worker.settled()

        moved = await office.endpoint(endpoint)
        assert (moved.status, moved.failing_since) == (EndpointStatus.ENABLED, None)
        assert await office.send() == 1
        (delivery,) = await office.deliveries(endpoint)
        assert another.ids == [str(delivery.id)]
        assert [attempt.status for attempt in delivery.log] == [status, 503]
        assert delivery.state is DeliveryState.PENDING


async def test_what_the_server_of_an_old_url_took_is_delivered(
    office: PostOffice, receiver: Receiver, anna: UserId
):
    go_on = asyncio.Event()
    receiver.answer = held_up(go_on, then=answering(200))
    endpoint, _ = await office.register(anna, receiver)
    await office.registration.send_test(anna, endpoint_id=endpoint.id)
    await office.worker.send_due()
    await receiver.received(1)
    async with receiving() as another:
        await office.registration.change(
            anna, endpoint_id=endpoint.id, change=Change(url=another.url)
        )

        go_on.set()
        await office.worker.settled()

        assert await office.send() == 0
    assert await office.states(endpoint) == ["delivered"]


async def test_many_workers_failures_and_replays_leave_every_line_in_order(
    office: PostOffice, anna: UserId
):
    chance = random.Random(7)

    async def fickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answering(chance.choice((200, 200, 500, 503)))(reader, writer)

    wallets = [wallet_of(anna) for _ in range(6)]
    happened = [paid(chance.choice(wallets)[0], None) for _ in range(120)]
    async with receiving(fickle) as first, receiving(fickle) as second, AsyncExitStack() as stack:
        endpoints = [
            (await office.register(anna, receiver, "transaction.*"))[0]
            for receiver in (first, second)
        ]
        await office.hear(*(event for _, event in wallets))
        for _ in range(3):
            await stack.enter_async_context(working(office.another_worker()))
        for start in range(0, len(happened), 10):
            await office.hear(*happened[start : start + 10])
            await replay_some(office, endpoints[0], chance)
        for endpoint in endpoints:
            await until(lambda end=endpoint: nothing_waits(office, end), "nothing waits")

        assert in_order(second, happened)
        assert set(await office.states(endpoints[1])) <= {"delivered", "failed"}
        assert {request.event["id"] for request in first.requests} == {
            str(event.id) for event in happened
        }


async def replay_some(office: PostOffice, endpoint: Endpoint, chance: random.Random) -> None:
    for delivery in await office.deliveries(endpoint):
        if delivery.state is not DeliveryState.PENDING and chance.random() < 0.1:
            await office.log.replay(endpoint.owner_id, delivery_id=delivery.id)


async def nothing_waits(office: PostOffice, endpoint: Endpoint) -> bool:
    return DeliveryState.PENDING.value not in await office.states(endpoint)


def in_order(receiver: Receiver, happened: Sequence[Event]) -> bool:
    """Whether each key's events first came in the order in which they happened."""
    seen = dict.fromkeys(request.event["id"] for request in receiver.requests)
    keys = {str(event.id): event.key for event in happened}
    return all(
        [event_id for event_id in seen if keys[event_id] == key]
        == [event_id for event_id in keys if keys[event_id] == key]
        for key in set(keys.values())
    )


async def all_are(office: PostOffice, endpoint, state: DeliveryState) -> bool:
    found = await office.deliveries(endpoint)
    return bool(found) and all(delivery.state is state for delivery in found)
