"""Endpoints in the hands of their owners: register, change, delete, rotate the secret, test."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from msgspec import Struct, structs

from guilder.kernel.errors import NotPermitted
from guilder.kernel.ids import UserId
from guilder.platform import outbox
from guilder.platform.db import Database, Tx
from guilder.platform.egress import Egress
from guilder.platform.envelopes import OuterKeys
from guilder.platform.identifiers import new_id
from guilder.platform.once import run_once
from guilder.webhooks.api import (
    DeliveryId,
    DeliveryState,
    DisabledReason,
    EndpointId,
    EndpointIsDisabled,
    EndpointNotFound,
    EndpointStatus,
    TooManyEndpoints,
    UnknownEvents,
)
from guilder.webhooks.domain import catalogue, filters
from guilder.webhooks.domain.records import Endpoint
from guilder.webhooks.events import (
    EndpointChanged,
    EndpointCreated,
    EndpointDeleted,
    SecretRotated,
)
from guilder.webhooks.service import signatures
from guilder.webhooks.service.messages import message
from guilder.webhooks.store import deliveries, endpoints, routing
from guilder.webhooks.store.routing import Addressed

MOST_ENDPOINTS: Final = 20
SECRET_OVERLAP: Final = timedelta(hours=24)
BEFORE_ALL: Final = UUID(int=0)


class Change(Struct, frozen=True, kw_only=True):
    """What to change of an endpoint; None leaves a thing as it is."""

    url: str | None = None
    description: str | None = None
    events: tuple[str, ...] | None = None
    enabled: bool | None = None


class Registration:
    """Endpoints and whose they are. ``overlap`` is how long two secrets sign after a rotation."""

    def __init__(
        self,
        db: Database,
        *,
        keys: OuterKeys,
        egress: Egress,
        at_once: int,
        overlap: timedelta = SECRET_OVERLAP,
    ) -> None:
        self._db = db
        self._keys = keys
        self._egress = egress
        self._at_once = at_once
        self._overlap = overlap

    async def register(
        self,
        owner_id: UserId,
        *,
        url: str,
        events: Sequence[str],
        description: str = "",
        acts_for: UserId | None = None,
    ) -> tuple[Endpoint, str]:
        """A new endpoint and its secret, which is shown this once.

        A machine client is its own endpoints' owner, and hears of the user whom it ``acts_for``.

        Raises:
            NotPermitted: the owner was deleted a moment ago.
            UrlRefused: Guilder does not call this URL.
            UnknownEvents: a filter fits no event.
            TooManyEndpoints: the owner has `MOST_ENDPOINTS` already.
        """
        wanted = _normalised(events)
        await self._egress.check(url)
        secret = signatures.new_secret()
        endpoint_id = EndpointId(new_id())
        sealed = self._keys.wrap(secret, at=signatures.place(endpoint_id))

        async def work(tx: Tx) -> Endpoint:
            if await endpoints.count_of(tx, owner_id) >= MOST_ENDPOINTS:
                raise TooManyEndpoints
            if await endpoints.is_gone(tx, owner_id):
                raise NotPermitted
            now = await endpoints.database_time(tx)
            made = Endpoint(
                id=endpoint_id,
                owner_id=owner_id,
                acts_for=acts_for,
                url=url,
                description=description,
                events=wanted,
                status=EndpointStatus.ENABLED,
                disabled_reason=None,
                secret=sealed,
                previous_secret=None,
                previous_until=None,
                failing_since=None,
                created_at=now,
                changed_at=now,
            )
            await endpoints.insert(tx, made)
            fact = EndpointCreated(endpoint_id=made.id, owner_id=owner_id, events=wanted)
            await outbox.append(tx, [outbox.outgoing(fact, key=str(made.id))])
            return made

        return await run_once(self._db, work), signatures.shown(secret)

    async def list_endpoints(self, owner_id: UserId, *, after: UUID, limit: int) -> list[Endpoint]:
        """An owner's endpoints in order of registration, from after an id."""
        async with self._db.snapshot() as tx:
            return await endpoints.page(tx, owner_id, after=after, limit=limit)

    async def view(self, owner_id: UserId | None, *, endpoint_id: EndpointId) -> Endpoint:
        """One endpoint of its owner; ``owner_id`` None is staff, who may see anybody's.

        Raises:
            EndpointNotFound: it does not exist or is somebody else's.
        """
        async with self._db.snapshot() as tx:
            return _owned(await endpoints.one(tx, endpoint_id), owner_id)

    async def change(
        self, owner_id: UserId, *, endpoint_id: EndpointId, change: Change
    ) -> Endpoint:
        """Change an endpoint. Enabling it goes on with what was waiting.

        Another URL is another server: it has not failed yet, and what waits to be tried again is
        tried there at once, with the schedule before it.

        Raises:
            EndpointNotFound: it does not exist or is somebody else's.
            UrlRefused: Guilder does not call this URL.
            UnknownEvents: a filter fits no event.
        """
        await self.view(owner_id, endpoint_id=endpoint_id)
        if change.events is not None:
            change = structs.replace(change, events=_normalised(change.events))
        if change.url is not None:
            await self._egress.check(change.url)

        async def work(tx: Tx) -> Endpoint:
            before = _owned(await endpoints.lock(tx, endpoint_id), owner_id)
            after = _changed(before, change)
            names = tuple(
                name
                for name in ("url", "description", "events", "status")
                if getattr(after, name) != getattr(before, name)
            )
            if not names:
                return before
            after = structs.replace(after, changed_at=await endpoints.database_time(tx))
            await endpoints.change(tx, after)
            if after.url != before.url:
                await deliveries.hasten(tx, after.id)
            await routing.schedule(tx, [after.id], at_once=self._at_once)
            routing.wake()
            fact = EndpointChanged(endpoint_id=after.id, owner_id=owner_id, changed=names)
            await outbox.append(tx, [outbox.outgoing(fact, key=str(after.id))])
            return after

        return await run_once(self._db, work)

    async def delete(self, owner_id: UserId, *, endpoint_id: EndpointId) -> None:
        """Forget an endpoint, its secrets, and what was still to be sent to it.

        Raises:
            EndpointNotFound: it does not exist or is somebody else's.
        """

        async def work(tx: Tx) -> None:
            _owned(await endpoints.lock(tx, endpoint_id), owner_id)
            await endpoints.delete(tx, endpoint_id)
            fact = EndpointDeleted(endpoint_id=endpoint_id, owner_id=owner_id)
            await outbox.append(tx, [outbox.outgoing(fact, key=str(endpoint_id))])

        await run_once(self._db, work)

    async def forget_owner(self, tx: Tx, owner_id: UserId) -> None:
        """Forget every endpoint of somebody who is gone, in the transaction that tells it."""
        await endpoints.say_goodbye(tx, owner_id)
        found = [EndpointId(row["id"]) for row in await endpoints.lock_those_of(tx, [owner_id])]
        await _delete(tx, found, owner_id=owner_id)

    async def end_those_before(self, tx: Tx, owner_id: UserId, *, before: datetime) -> None:
        """Delete the endpoints somebody had at a time; they stay and may register others."""
        found = await endpoints.lock_those_before(tx, owner_id, before=before)
        await _delete(tx, found, owner_id=owner_id)

    async def rotate_secret(
        self, owner_id: UserId, *, endpoint_id: EndpointId
    ) -> tuple[Endpoint, str]:
        """A new secret, shown this once; the one before it signs as well for the overlap.

        Rotating again before that is over ends the oldest at once: never more than two sign.

        Raises:
            EndpointNotFound: it does not exist or is somebody else's.
        """
        secret = signatures.new_secret()
        sealed = self._keys.wrap(secret, at=signatures.place(endpoint_id))

        async def work(tx: Tx) -> Endpoint:
            before = _owned(await endpoints.lock(tx, endpoint_id), owner_id)
            now = await endpoints.database_time(tx)
            until = now + self._overlap
            after = structs.replace(
                before,
                secret=sealed,
                previous_secret=before.secret,
                previous_until=until,
                changed_at=now,
            )
            await endpoints.change(tx, after)
            fact = SecretRotated(endpoint_id=after.id, owner_id=owner_id, overlap_until=until)
            await outbox.append(tx, [outbox.outgoing(fact, key=str(after.id))])
            return after

        return await run_once(self._db, work), signatures.shown(secret)

    async def send_test(self, owner_id: UserId, *, endpoint_id: EndpointId) -> DeliveryId:
        """Send a ``webhook.test`` event to an endpoint, whatever its filters are.

        Raises:
            EndpointNotFound: it does not exist or is somebody else's.
            EndpointIsDisabled: nothing is sent to it.
        """

        async def work(tx: Tx) -> DeliveryId:
            endpoint = _owned(await endpoints.lock(tx, endpoint_id), owner_id)
            if endpoint.status is not EndpointStatus.ENABLED:
                raise EndpointIsDisabled
            event_id, now = new_id(), await endpoints.database_time(tx)
            # a key of its own: a test waits for nothing
            event = message(
                event_id,
                type_=catalogue.TEST,
                key=str(event_id),
                at=now,
                data={"endpoint_id": endpoint_id},
            )
            delivery = Addressed(
                id=DeliveryId(new_id()),
                endpoint_id=endpoint_id,
                event=event,
                state=DeliveryState.PENDING,
            )
            await routing.keep_events(tx, [event])
            await routing.deliver(tx, [delivery], at_once=self._at_once)
            return delivery.id

        return await run_once(self._db, work)


def _normalised(events: Sequence[str]) -> tuple[str, ...]:
    found = filters.normalised(events)
    if isinstance(found, UnknownEvents):
        raise found
    return found


def _owned(endpoint: Endpoint | None, owner_id: UserId | None) -> Endpoint:
    if endpoint is None:
        raise EndpointNotFound
    if owner_id not in {endpoint.owner_id, None}:
        raise EndpointNotFound.of_another()
    return endpoint


def _changed(endpoint: Endpoint, change: Change) -> Endpoint:
    after = structs.replace(
        endpoint,
        url=endpoint.url if change.url is None else change.url,
        description=endpoint.description if change.description is None else change.description,
        events=endpoint.events if change.events is None else change.events,
    )
    if after.url != endpoint.url:  # another server has not failed yet
        after = structs.replace(after, failing_since=None)
    if change.enabled is None or change.enabled is (after.status is EndpointStatus.ENABLED):
        return after
    if change.enabled:
        return structs.replace(
            after, status=EndpointStatus.ENABLED, disabled_reason=None, failing_since=None
        )
    return structs.replace(
        after, status=EndpointStatus.DISABLED, disabled_reason=DisabledReason.OWNER
    )


async def _delete(tx: Tx, found: Sequence[EndpointId], *, owner_id: UserId) -> None:
    for endpoint_id in found:
        await endpoints.delete(tx, endpoint_id)
    facts = [EndpointDeleted(endpoint_id=one, owner_id=owner_id) for one in found]
    await outbox.append(tx, [outbox.outgoing(f, key=str(f.endpoint_id)) for f in facts])
