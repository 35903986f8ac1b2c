"""Hears what happened and tells people: feeds and deliveries, in the commit of the hearing."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, TypeAlias

from msgspec.structs import replace

from guilder.identity.api.sessions import EndReason
from guilder.identity.events import (
    ClientAdded,
    ClientSecretRotated,
    CodeIssued,
    NewDeviceUsed,
    OutsideIdentityLinked,
    OutsideIdentityUnlinked,
    PasswordChanged,
    RecoveryCodesReplaced,
    RecoveryCodeUsed,
    SecondFactorAdded,
    SecondFactorGuessed,
    SecondFactorRemoved,
    SessionsEnded,
    SignInCodesGuessed,
    UserContactChanged,
    UserRegistered,
)
from guilder.identity.events.staff import SecondFactorsReset
from guilder.kernel.ids import EventId, UserId, WalletId
from guilder.notifications.api import Category, Channel, DeliveryId, DeviceId, NoticeId
from guilder.notifications.domain import notices as told
from guilder.notifications.domain.deliveries import NEWS_FOR
from guilder.notifications.domain.notices import Notice, WebhookDisabled
from guilder.notifications.domain.preferences import Preferences
from guilder.notifications.service.codes import code_deliveries
from guilder.notifications.store import deliveries, feed, people
from guilder.notifications.store.people import Reader, SealedContact
from guilder.payments.events import TransactionCompleted, TransactionFailed
from guilder.platform.db import Tx
from guilder.platform.identifiers import new_id
from guilder.wallets.events import WalletCreated

Fact: TypeAlias = (
    UserRegistered
    | UserContactChanged
    | NewDeviceUsed
    | SessionsEnded
    | PasswordChanged
    | CodeIssued
    | told.FactorChange
    | told.AccessChange
    | SecondFactorGuessed
    | SignInCodesGuessed
    | WalletCreated
    | TransactionCompleted
    | TransactionFailed
    | WebhookDisabled
)

_OUTGOING: Final = (Channel.EMAIL, Channel.SMS, Channel.PUSH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A fact that happened ``at`` a time, and the event that told of it."""

    event_id: EventId
    at: datetime
    fact: Fact


class _Plan(NamedTuple):
    """How one person is told of one category: in the feed or not, by what else, and when."""

    in_app: bool
    goals: Sequence[tuple[Channel, DeviceId | None]]
    due_at: datetime


class Newsroom:
    """Turns facts into notices. ``default`` are the preferences of who chose nothing;
    ``reachable`` are the channels that messages can be sent by here."""

    def __init__(self, *, default: Preferences, reachable: Collection[Channel]) -> None:
        self._default = default
        self._reachable = frozenset(reachable)

    async def hear(self, tx: Tx, heard: Sequence[Heard]) -> None:
        """Remember what facts say of people and wallets, and tell those whom they concern.

        Raises:
            OwnerUnknown: a payment names a wallet that was not heard of yet; hear it again later.
        """
        await self._learn(tx, [item.fact for item in heard])
        owners = await self._owners(tx, [item.fact for item in heard])
        found = [
            replace(notice, event_id=item.event_id)
            for item in heard
            for notice in _notices(item, owners=owners)
        ]
        await self.tell(tx, found)
        codes = [(item.event_id, item.fact) for item in heard if isinstance(item.fact, CodeIssued)]
        if codes:
            await self._carry(tx, codes)

    async def tell(self, tx: Tx, notices: Sequence[Notice]) -> None:
        """Put notices into feeds, and on their way by every channel their reader wants."""
        if not notices:
            return
        now = await deliveries.database_time(tx)
        user_ids = sorted({notice.user_id for notice in notices})
        readers = await people.readers(tx, user_ids, default=self._default)
        plans: dict[tuple[UserId, Category], _Plan] = {}
        items, outgoing = list[feed.NewItem](), list[deliveries.NewDelivery]()
        for notice in notices:
            named = notice.user_id, notice.category
            plan = plans.get(named)
            if plan is None:
                plan = plans[named] = self._plan(readers[notice.user_id], named[1], now=now)
            if plan.in_app:
                items.append(_item(notice))
            is_news = named[1] is Category.SECURITY or now - notice.at < NEWS_FOR
            if plan.goals and is_news:
                outgoing += (_delivery(notice, goal, due_at=plan.due_at) for goal in plan.goals)
        if items:
            await feed.add(tx, items)
        if outgoing:
            await deliveries.put(tx, outgoing)

    async def _carry(self, tx: Tx, issued: Sequence[tuple[EventId, CodeIssued]]) -> None:
        now = await deliveries.database_time(tx)
        user_ids = sorted({code.user_id for _, code in issued})
        readers = await people.readers(tx, user_ids, default=self._default)
        outgoing = code_deliveries(issued, readers=readers, reachable=self._reachable, now=now)
        if outgoing:
            await deliveries.put(tx, outgoing)

    async def _learn(self, tx: Tx, facts: Iterable[Fact]) -> None:
        contacts, wallets = [], {}
        for fact in facts:
            if isinstance(fact, UserContactChanged):
                contacts.append(_contact(fact))
            elif isinstance(fact, WalletCreated):
                wallets[fact.wallet_id] = fact.owner_id
        if contacts:
            await people.put_contacts(tx, contacts)
        if wallets:
            await people.add_wallets(tx, wallets)

    async def _owners(self, tx: Tx, facts: Iterable[Fact]) -> Mapping[WalletId, UserId]:
        named = {
            wallet_id
            for fact in facts
            if isinstance(fact, TransactionCompleted)
            for wallet_id in (fact.from_wallet_id, fact.to_wallet_id)
            if wallet_id is not None
        }
        return await people.owners(tx, named) if named else {}

    def _plan(self, reader: Reader, category: Category, *, now: datetime) -> _Plan:
        chosen = reader.preferences
        channels = [
            channel
            for channel in _OUTGOING
            if channel in self._reachable and chosen.wants(category, channel)
        ]
        return _Plan(
            in_app=chosen.wants(category, Channel.IN_APP),
            goals=[(channel, goal) for channel in channels for goal in targets(reader, channel)],
            due_at=chosen.send_at(now, category),
        )


def targets(reader: Reader, channel: Channel) -> Sequence[DeviceId | None]:
    """Where a reader is reached by a channel: devices, or None for the one email or phone."""
    if channel is Channel.PUSH:
        return reader.devices
    has_one = reader.has_email if channel is Channel.EMAIL else reader.has_phone
    return [None] if has_one else []


def _item(notice: Notice) -> feed.NewItem:
    return feed.NewItem(
        user_id=notice.user_id,
        id=NoticeId(new_id()),
        template=notice.template,
        category=notice.category,
        data=notice.values,
        event_id=notice.event_id,
        created_at=notice.at,
    )


def _delivery(
    notice: Notice, goal: tuple[Channel, DeviceId | None], *, due_at: datetime
) -> deliveries.NewDelivery:
    channel, device_id = goal
    return deliveries.NewDelivery(
        id=DeliveryId(new_id()),
        user_id=notice.user_id,
        channel=channel,
        device_id=device_id,
        template=notice.template,
        category=notice.category,
        data=notice.values,
        event_id=notice.event_id,
        due_at=due_at,
    )


def _notices(item: Heard, *, owners: Mapping[WalletId, UserId]) -> list[Notice]:
    fact = item.fact
    match fact:
        case UserRegistered():
            found = told.of_registration(fact)
        case WalletCreated():
            found = told.of_wallet(fact, at=item.at)
        case TransactionCompleted():
            found = told.of_payment(fact, owners=owners)
        case TransactionFailed():
            found = told.of_failure(fact)
        case WebhookDisabled():
            found = told.of_disabled_webhook(fact, at=item.at)
        case _:
            found = _security_notices(item)
    return found


def _security_notices(item: Heard) -> list[Notice]:
    fact, found = item.fact, list[Notice]()
    match fact:
        case PasswordChanged():
            found = told.of_password(fact)
        case NewDeviceUsed():
            found = told.of_new_device(fact)
        case SessionsEnded(reason=EndReason.REFRESH_REUSED):
            found = told.of_stolen_session(fact)
        case SecondFactorGuessed():
            found = told.of_guesses(fact, at=item.at)
        case SignInCodesGuessed():
            found = told.of_guessed_codes(fact)
        case (
            SecondFactorAdded()
            | SecondFactorRemoved()
            | SecondFactorsReset()
            | RecoveryCodesReplaced()
            | RecoveryCodeUsed()
        ):
            found = told.of_factors(fact, at=item.at)
        case (
            OutsideIdentityLinked()
            | OutsideIdentityUnlinked()
            | ClientAdded()
            | ClientSecretRotated()
        ):
            found = told.of_access(fact, at=item.at)
        case _:
            pass
    return found


def _contact(fact: UserContactChanged) -> SealedContact:
    return SealedContact(
        user_id=fact.user_id,
        sealed=b64decode(fact.sealed),
        has_email=fact.has_email,
        has_phone=fact.has_phone,
        changed_at=fact.changed_at,
    )
