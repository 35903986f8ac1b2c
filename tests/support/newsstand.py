"""Notifications on a real database: facts in, feeds and messages out."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from uuid import uuid4

import msgspec
from prometheus_client import CollectorRegistry

from guilder.identity.api.sessions import EndReason
from guilder.identity.events import (
    NewDeviceUsed,
    PersonalDetails,
    SessionsEnded,
    UserContactChanged,
    UserRegistered,
    contact_place,
)
from guilder.kernel.ids import EventId, SessionId, TransactionId, UserId, WalletId
from guilder.notifications.api import Channel, Message, NoticeId, Sender
from guilder.notifications.domain.preferences import Preferences
from guilder.notifications.service.courier import KEPT_FOR, Courier
from guilder.notifications.service.figures import Figures
from guilder.notifications.service.forgetting import Forgetting
from guilder.notifications.service.newsroom import Fact, Heard, Newsroom
from guilder.notifications.service.reading import (
    Choosing,
    FeedReading,
    SandboxReading,
    ShownItem,
)
from guilder.notifications.service.sending import Sending
from guilder.notifications.service.wording import Writer
from guilder.payments.events import TransactionCompleted, TransactionFailed
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys
from guilder.platform.identifiers import new_id
from guilder.wallets.events import WalletCreated

DEFAULT = Preferences(language="en", time_zone="Asia/Kolkata")
_NUMBERS = count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody with a wallet, whom notifications have heard of."""

    id: UserId
    wallet: WalletId
    email: str
    phone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A notice as its reader sees it."""

    id: NoticeId
    sequence: int
    template: str
    category: str
    title: str
    body: str

    @classmethod
    def of(cls, shown: ShownItem) -> Told:
        item = shown.item
        return cls(
            id=item.id,
            sequence=item.sequence,
            template=item.template,
            category=item.category,
            title=shown.title,
            body=shown.body,
        )


class Tray:
    """A sender that keeps what it is given, or raises what it is told to."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.failures: list[Exception] = []

    async def send(self, message: Message) -> str:
        if self.failures:
            raise self.failures.pop(0)
        self.messages.append(message)
        return f"tray:{len(self.messages)}"

    async def close(self) -> None:
        pass


class Stuck(Tray):
    """A sender whose provider answers nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = asyncio.Event()
        self.asked = asyncio.Semaphore(0)

    async def send(self, message: Message) -> str:
        self.asked.release()
        await self.let_go.wait()
        return await super().send(message)


class Newsstand:
    """The use cases of notifications on ``db``, with these senders."""

    def __init__(self, db: Database, *, keys: Path, senders: Mapping[Channel, Sender]) -> None:
        self.db = db
        self.keys = OuterKeys(keys)
        self.senders = senders
        self.writer = Writer(region="IN")
        self.newsroom = Newsroom(default=DEFAULT, reachable=senders)
        self.forgetting = Forgetting(db)
        self.reading = FeedReading(db, writer=self.writer, default=DEFAULT)
        self.sandbox = SandboxReading(db, writer=self.writer, keys=self.keys, default=DEFAULT)
        self.choosing = Choosing(db, default=DEFAULT)
        self.sending = Sending(db, writer=self.writer, default=DEFAULT, reachable=senders)

    def courier(
        self,
        *,
        lease_s: float = 30.0,
        kept_for: timedelta = KEPT_FOR,
        registry: CollectorRegistry | None = None,
    ) -> Courier:
        return Courier(
            self.db,
            writer=self.writer,
            contacts=self.keys,
            senders=self.senders,
            default=DEFAULT,
            lease_s=lease_s,
            figures=Figures(registry),
            kept_for=kept_for,
        )

    async def hear(self, *facts: Fact, at: datetime | None = None) -> None:
        """Let these happen, all in one delivery."""
        when = at or datetime.now(UTC)
        heard = [Heard(event_id=EventId(new_id()), at=when, fact=fact) for fact in facts]
        await self.db.run(lambda tx: self.newsroom.hear(tx, heard))

    async def person(self, name: str) -> Person:
        """Somebody who registers and gets a wallet, of which they are told nothing here."""
        number = next(_NUMBERS)
        person = Person(
            id=UserId(new_id()),
            wallet=WalletId(new_id()),
            email=f"{name.lower()}.{number}@example.com",
            phone=f"+9198765{number:05}",
        )
        await self.hear(self.contact(person, name), self.wallet(person), at=_LONG_AGO)
        return person

    def contact(self, person: Person, name: str) -> UserContactChanged:
        details = PersonalDetails(full_name=name, email=person.email, phone=person.phone)
        sealed = self.keys.wrap(msgspec.json.encode(details), at=contact_place(person.id))
        return UserContactChanged(
            user_id=person.id,
            sealed=b64encode(sealed).decode(),
            has_email=True,
            has_phone=True,
            changed_at=datetime.now(UTC),
        )

    def wallet(self, person: Person) -> WalletCreated:
        return WalletCreated(
            wallet_id=person.wallet, owner_id=person.id, currency="INR", status="active"
        )

    async def feed(self, person: Person, *, limit: int = 50) -> list[Told]:
        """What they were told after their wallet's details, oldest first."""
        items = await self.reading.page(person.id, before=2**63 - 1, limit=limit)
        told = [Told.of(shown) for shown in reversed(items)]
        return [item for item in told if item.template != "account_details"]

    async def statuses(self, person: Person) -> list[tuple[str, str, str, str | None]]:
        """Template, channel, status and reason of each message to them."""
        rows = await self.db.fetch(
            "SELECT template, channel, status, reason FROM notifications.deliveries "
            "WHERE user_id = $1 ORDER BY id",
            person.id,
        )
        return [tuple(row) for row in rows]


_LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def payment(source: WalletId | None, target: WalletId | None) -> TransactionCompleted:
    return TransactionCompleted(
        transaction_id=TransactionId(new_id()),
        transaction_type="transfer",
        initiated_by=UserId(uuid4()),
        from_wallet_id=source,
        to_wallet_id=target,
        amount="100.00",
        currency="INR",
        completed_at=datetime.now(UTC),
    )


def failure(person: Person, reason: str) -> TransactionFailed:
    return TransactionFailed(
        transaction_id=TransactionId(new_id()),
        transaction_type="transfer",
        initiated_by=person.id,
        from_wallet_id=person.wallet,
        to_wallet_id=None,
        amount="100.00",
        currency="INR",
        reason=reason,
        failed_at=datetime.now(UTC),
    )


def registration(person: Person) -> UserRegistered:
    return UserRegistered(
        user_id=person.id, user_admin_account_id=UserId(new_id()), registered_at=datetime.now(UTC)
    )


def new_device(person: Person) -> NewDeviceUsed:
    return NewDeviceUsed(
        user_id=person.id,
        account_id=person.id,
        account_type="customer",
        session_id=SessionId(new_id()),
        used_at=datetime.now(UTC),
    )


def ended(person: Person, *, reason: EndReason) -> SessionsEnded:
    return SessionsEnded(
        user_id=person.id,
        session_ids=(SessionId(new_id()),),
        reason=reason.value,
        ended_at=datetime.now(UTC),
    )
