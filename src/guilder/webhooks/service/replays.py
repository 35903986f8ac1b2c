"""The delivery log in the hands of owners: reading it, and sending again what is in it."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from guilder.kernel.ids import UserId
from guilder.platform import outbox
from guilder.platform.db import Database, Tx
from guilder.platform.once import run_once
from guilder.webhooks.api import (
    DeliveryId,
    DeliveryNotFound,
    DeliveryState,
    EndpointId,
    EndpointIsDisabled,
    EndpointNotFound,
    EndpointStatus,
    RangeTooLarge,
    StillPending,
    TooManyReplays,
)
from guilder.webhooks.domain.records import Delivery, Endpoint
from guilder.webhooks.events import ReplayRequested
from guilder.webhooks.store import deliveries, endpoints, routing

MOST_AT_ONCE: Final = 10_000
MOST_A_DAY: Final = 50_000
"""How many deliveries an owner may send again on one day (UTC), to all endpoints together."""


class DeliveryLog:
    """What was sent to endpoints, and sending it again."""

    def __init__(self, db: Database, *, at_once: int, most_a_day: int = MOST_A_DAY) -> None:
        self._db = db
        self._at_once = at_once
        self._most_a_day = most_a_day

    async def list_deliveries(
        self,
        owner_id: UserId | None,
        *,
        endpoint_id: EndpointId,
        before: int | None,
        state: DeliveryState | None,
        limit: int,
    ) -> list[Delivery]:
        """An endpoint's deliveries with their attempts, newest first; None as owner is staff.

        Raises:
            EndpointNotFound: it does not exist or is somebody else's.
        """
        async with self._db.snapshot() as tx:
            endpoint = await endpoints.one(tx, endpoint_id)
            if endpoint is None:
                raise EndpointNotFound
            if owner_id not in {endpoint.owner_id, None}:
                raise EndpointNotFound.of_another()
            return await deliveries.page(tx, endpoint_id, before=before, state=state, limit=limit)

    async def view(self, owner_id: UserId | None, *, delivery_id: DeliveryId) -> Delivery:
        """One delivery with what is kept of its last attempts; None as owner is staff.

        Raises:
            DeliveryNotFound: it does not exist, or its endpoint is somebody else's.
        """
        async with self._db.snapshot() as tx:
            found = await deliveries.owner_of(tx, delivery_id)
            if found is None:
                raise DeliveryNotFound
            if owner_id not in {found[1], None}:
                raise DeliveryNotFound.of_another()
            return await deliveries.one(tx, delivery_id)

    async def replay(self, owner_id: UserId, *, delivery_id: DeliveryId) -> None:
        """Send a delivery again, with its old id, behind what is waiting for the same key.

        One that failed and would be tried again later is tried now.

        Raises:
            DeliveryNotFound: it does not exist, or its endpoint is somebody else's.
            StillPending: it is on its way already.
            EndpointIsDisabled: nothing is sent to its endpoint.
            TooManyReplays: the owner has replayed as much today as one may.
        """

        async def work(tx: Tx) -> None:
            found = await deliveries.owner_of(tx, delivery_id)
            if found is None:
                raise DeliveryNotFound
            if found[1] != owner_id:
                raise DeliveryNotFound.of_another()
            endpoint_id, _ = found
            endpoint = await self._lock_enabled(tx, owner_id, endpoint_id)
            begun = await deliveries.replay_one(tx, endpoint_id, delivery_id=delivery_id)
            if not begun and not await deliveries.hasten(tx, endpoint_id, only=delivery_id):
                raise StillPending
            await self._begin_again(tx, endpoint, count=1)

        await run_once(self._db, work)

    async def replay_range(
        self, owner_id: UserId, *, endpoint_id: EndpointId, since: datetime, until: datetime
    ) -> int:
        """Send again what was made from ``since`` to before ``until``, whatever became of it.

        What is still pending goes its way and is not counted.

        Raises:
            EndpointNotFound: it does not exist or is somebody else's.
            EndpointIsDisabled: nothing is sent to it.
            RangeTooLarge: that would be more than `MOST_AT_ONCE`.
            TooManyReplays: that would be more than the owner may replay on a day.
        """

        async def work(tx: Tx) -> int:
            endpoint = await self._lock_enabled(tx, owner_id, endpoint_id)
            asked = await deliveries.count_range(
                tx, endpoint_id, since=since, until=until, most=MOST_AT_ONCE + 1
            )
            if asked > MOST_AT_ONCE:
                raise RangeTooLarge(None, most=MOST_AT_ONCE)
            count = await deliveries.replay_range(tx, endpoint_id, since=since, until=until)
            if count:
                await self._begin_again(tx, endpoint, count=count)
            return count

        return await run_once(self._db, work)

    async def _lock_enabled(self, tx: Tx, owner_id: UserId, endpoint_id: EndpointId) -> Endpoint:
        endpoint = await endpoints.lock(tx, endpoint_id)
        if endpoint is None:
            raise EndpointNotFound
        if endpoint.owner_id != owner_id:
            raise EndpointNotFound.of_another()
        if endpoint.status is not EndpointStatus.ENABLED:
            raise EndpointIsDisabled
        return endpoint

    async def _begin_again(self, tx: Tx, endpoint: Endpoint, *, count: int) -> None:
        # the budget is the person's, however many machine clients act for them
        person = endpoint.acts_for or endpoint.owner_id
        if await deliveries.count_replayed(tx, person, more=count) > self._most_a_day:
            raise TooManyReplays
        await routing.schedule(tx, [endpoint.id], at_once=self._at_once)
        routing.wake()
        fact = ReplayRequested(
            endpoint_id=endpoint.id, owner_id=endpoint.owner_id, deliveries=count
        )
        await outbox.append(tx, [outbox.outgoing(fact, key=str(endpoint.id))])
