"""From events to deliveries: who is concerned, which of their endpoints want it, one write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from uuid import UUID

from guilder.kernel.ids import UserId, WalletId
from guilder.platform.bus import Event
from guilder.platform.db import Database, Row, Tx
from guilder.platform.identifiers import new_id
from guilder.wallets.events import WalletCreated
from guilder.webhooks.api import DeliveryId, DeliveryState, EndpointStatus
from guilder.webhooks.domain import catalogue, filters
from guilder.webhooks.service.messages import message
from guilder.webhooks.store import endpoints, routing
from guilder.webhooks.store.routing import Addressed, Heard, SetAside

_MOST_UNROUTED: Final = 500


class FanOut:
    """Turns events into deliveries. ``at_once`` bounds the requests to one endpoint."""

    def __init__(self, db: Database, *, at_once: int) -> None:
        self._db = db
        self._at_once = at_once

    async def hear(self, tx: Tx, events: Sequence[Event]) -> None:
        """Write a delivery for each endpoint that wants one of ``events`` and may have it."""
        await _learn_owners(tx, events)
        if not await endpoints.are_there_any(tx):
            return
        concerned, parked = await _sorted_out(tx, events)
        if parked:
            await routing.park(tx, parked)
        await self._deliver(tx, concerned)

    async def route_parked(self) -> int:
        """Deliver events that came before one knew whose wallets they are of; answer how many.

        Events of different keys may be heard in any order, so a payment can come before its
        wallet. Later ones of its key wait behind it, whomever they are for.
        """

        async def work(tx: Tx) -> int:
            found = await routing.unpark(tx, limit=_MOST_UNROUTED)
            if found:
                await self._deliver(tx, found)
            return len(found)

        return await self._db.run(work)

    async def _deliver(self, tx: Tx, concerned: Sequence[tuple[Event | Heard, UserId]]) -> None:
        if not concerned:
            return
        people = {person for _, person in concerned}
        by_owner: dict[UserId, list[Row]] = {}
        for row in await endpoints.lock_those_of(tx, people):
            by_owner.setdefault(row["owner_id"], []).append(row)
            if row["acts_for"] is not None:
                by_owner.setdefault(row["acts_for"], []).append(row)
        if not by_owner:
            return
        addressed = {
            (row["id"], event.id): _addressed(event, row)
            for event, person in concerned
            for row in by_owner.get(person, ())
            if filters.wanted(row["events"], event.type)
        }
        if addressed:
            kept = {delivery.event.id: delivery.event for delivery in addressed.values()}
            await routing.keep_events(tx, list(kept.values()))
            await routing.deliver(tx, list(addressed.values()), at_once=self._at_once)


async def _sorted_out(
    tx: Tx, events: Sequence[Event]
) -> tuple[list[tuple[Event, UserId]], list[SetAside]]:
    """Whom each event concerns, and which have to wait: for word of a wallet, or behind one that
    does, as anybody may turn out to own that wallet, too."""
    wallets = {
        wallet_id for event in events for wallet_id in catalogue.wallets(event.type, event.data)
    }
    owners = await routing.owners_of(tx, wallets) if wallets else {}
    waiting = await routing.parked_keys(tx, {event.key for event in events})
    concerned: list[tuple[Event, UserId]] = []
    parked: list[SetAside] = []
    for event in events:
        hearers = _hearers(event, owners)
        is_behind = event.key in waiting
        for concerns, person in hearers.items():
            if person is None or is_behind:
                waiting.add(event.key)
                parked.append(SetAside(event=_heard(event), concerns=concerns, owner_id=person))
            else:
                concerned.append((event, person))
    return concerned, parked


def _hearers(
    event: Event, owners: Mapping[WalletId, UserId]
) -> dict[WalletId | UserId, UserId | None]:
    """Who is to hear of an event, by the wallet or the name that says so; None: not known yet."""
    named: dict[WalletId | UserId, UserId | None] = {
        person: person for person in catalogue.people(event.type, event.data)
    }
    for wallet_id in catalogue.wallets(event.type, event.data):
        named[wallet_id] = owners.get(wallet_id)
    return named


async def _learn_owners(tx: Tx, events: Iterable[Event]) -> None:
    owners = {
        WalletId(UUID(event.data["wallet_id"])): UserId(UUID(event.data["owner_id"]))
        for event in events
        if event.type == WalletCreated.TYPE
    }
    if owners:
        await routing.learn_owners(tx, owners)


def _addressed(event: Event | Heard, endpoint: Row) -> Addressed:
    is_enabled = endpoint["status"] == EndpointStatus.ENABLED.value
    return Addressed(
        id=DeliveryId(new_id()),
        endpoint_id=endpoint["id"],
        event=_heard(event),
        state=DeliveryState.PENDING if is_enabled else DeliveryState.SKIPPED,
    )


def _heard(event: Event | Heard) -> Heard:
    if isinstance(event, Heard):
        return event
    data = catalogue.shown(event.type, event.data)
    return message(event.id, type_=event.type, key=event.key, at=event.time, data=data)
