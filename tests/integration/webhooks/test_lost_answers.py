"""What an owner asks for is done once, though the answer to its commit was lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest_asyncio

from guilder.kernel.ids import UserId
from guilder.webhooks.service.registration import MOST_ENDPOINTS
from tests.support.database import OwnDatabase
from tests.support.post_office import PostOffice
from tests.support.receivers import Receiver
from tests.support.town import ForgetfulDatabase


@pytest_asyncio.fixture
async def forgetful(database: OwnDatabase, tmp_path: Path) -> AsyncIterator[PostOffice]:
    """An office whose every commit is taken for lost, and repeated."""
    pool = await ForgetfulDatabase.connect(database.url())
    made = PostOffice(pool, keys=tmp_path / "keys")
    yield made
    assert await made.findings() == []
    await pool.close()


async def test_an_endpoint_is_registered_once_and_its_secret_is_told(
    forgetful: PostOffice, receiver: Receiver, anna: UserId
):
    made = [await forgetful.register(anna, receiver) for _ in range(MOST_ENDPOINTS)]

    listed = await forgetful.registration.list_endpoints(
        anna, after=UUID(int=0), limit=MOST_ENDPOINTS + 1
    )
    assert [each.id for each in listed] == [endpoint.id for endpoint, _ in made]
    assert all(secret for _, secret in made)


async def test_a_secret_that_is_rotated_once_signs_beside_the_one_before_it(
    forgetful: PostOffice, receiver: Receiver, anna: UserId
):
    before, _ = await forgetful.register(anna, receiver)

    after, _ = await forgetful.registration.rotate_secret(anna, endpoint_id=before.id)

    assert after.previous_secret == before.secret
    assert await forgetful.endpoint(before) == after


async def test_a_test_is_sent_once_and_replayed_once(
    forgetful: PostOffice, office: PostOffice, receiver: Receiver, anna: UserId
):
    endpoint, _ = await forgetful.register(anna, receiver)

    sent = await forgetful.registration.send_test(anna, endpoint_id=endpoint.id)
    await office.send()
    await forgetful.log.replay(anna, delivery_id=sent)
    await office.send()

    (delivery,) = await forgetful.deliveries(endpoint)
    assert delivery.id == sent
    assert len(receiver.requests) == 2


async def test_what_is_deleted_once_was_there(
    forgetful: PostOffice, receiver: Receiver, anna: UserId
):
    endpoint, _ = await forgetful.register(anna, receiver)

    await forgetful.registration.delete(anna, endpoint_id=endpoint.id)

    assert await forgetful.registration.list_endpoints(anna, after=UUID(int=0), limit=1) == []
