"""Endpoints of machine clients: their own, told what concerns the user whom they act for."""

from __future__ import annotations

import pytest

from guilder.identity.events import ClientRemoved
from guilder.kernel.errors import NotPermitted
from guilder.kernel.ids import UserId
from guilder.platform.identifiers import new_id
from guilder.webhooks.api import EndpointNotFound
from guilder.webhooks.consumers import subscriptions
from guilder.webhooks.domain.records import Endpoint
from guilder.webhooks.service.clearing import Clearing
from guilder.webhooks.service.registration import BEFORE_ALL
from tests.support.post_office import PostOffice, event, wallet_of
from tests.support.receivers import Receiver
from tests.support.tampering import Connection


@pytest.fixture
def client() -> UserId:
    return UserId(new_id())


async def endpoint_of(
    office: PostOffice, client: UserId, receiver: Receiver, *, user_id: UserId
) -> Endpoint:
    made, _ = await office.registration.register(
        client, url=receiver.url, events=("*",), acts_for=user_id
    )
    return made


async def remove(office: PostOffice, client: UserId) -> None:
    """Tell webhooks that a client was deleted."""
    told = event(ClientRemoved.TYPE, key=client, client_id=client, user_id=None)
    (subscription,) = [
        one
        for one in subscriptions(office.fan_out, office.registration)
        if ClientRemoved.TYPE in (one.types or ())
    ]
    await office.db.run(lambda tx: subscription.hear(tx, [told]))


async def test_a_client_hears_what_concerns_its_user_and_nobody_elses(
    office: PostOffice, receiver: Receiver, anna: UserId, ben: UserId, client: UserId
) -> None:
    endpoint = await endpoint_of(office, client, receiver, user_id=anna)

    await office.hear(wallet_of(anna)[1], wallet_of(ben)[1])
    await office.send()

    assert await office.states(endpoint) == ["delivered"]
    assert receiver.requests[0].event["data"]["owner_id"] == str(anna)


async def test_a_clients_endpoints_are_its_own(
    office: PostOffice, receiver: Receiver, anna: UserId, client: UserId
) -> None:
    endpoint = await endpoint_of(office, client, receiver, user_id=anna)

    mine = await office.registration.list_endpoints(client, after=BEFORE_ALL, limit=9)
    annas = await office.registration.list_endpoints(anna, after=BEFORE_ALL, limit=9)

    assert (mine, annas) == ([endpoint], [])
    with pytest.raises(EndpointNotFound):
        await office.registration.delete(anna, endpoint_id=endpoint.id)


async def test_a_deleted_client_has_no_endpoints_and_gets_no_new_ones(
    office: PostOffice, receiver: Receiver, anna: UserId, client: UserId
) -> None:
    endpoint = await endpoint_of(office, client, receiver, user_id=anna)
    annas, _ = await office.register(anna, receiver)

    await remove(office, client)
    await remove(office, client)

    with pytest.raises(EndpointNotFound):
        await office.endpoint(endpoint)
    with pytest.raises(NotPermitted):
        await endpoint_of(office, client, receiver, user_id=anna)
    assert await office.endpoint(annas) == annas


async def test_those_who_are_gone_are_forgotten_when_no_token_of_theirs_can_be_good(
    office: PostOffice, client: UserId, superuser: Connection
) -> None:
    await remove(office, client)
    await superuser.execute(
        "UPDATE webhooks.gone_owners SET gone_at = now() - interval '2 days' WHERE owner_id = $1",
        client,
    )
    late = UserId(new_id())
    await remove(office, late)

    await Clearing(office.db).clear()

    left = await superuser.fetch("SELECT owner_id FROM webhooks.gone_owners")
    assert late in {row["owner_id"] for row in left}
    assert client not in {row["owner_id"] for row in left}
