"""What goes first, what waits for what, and what is judged again just before it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from guilder.kernel.errors import Overloaded
from guilder.notifications.api import Category, Channel, NotDelivered
from guilder.notifications.domain.preferences import Preferences, QuietHours
from guilder.notifications.service.channels.http_push import HttpPush, ServiceAccount
from guilder.notifications.store import deliveries
from guilder.platform.db import Database, Tx
from guilder.platform.identifiers import new_id
from tests.integration.notifications.conftest import Trays
from tests.support.newsstand import Newsstand, Stuck, Tray, new_device, payment
from tests.support.providers import providing
from tests.support.reading import rows_read


async def test_a_provider_that_hangs_delays_no_other_channel_and_no_other_message(
    db: Database, key_folder: Path
) -> None:
    push, mail = Stuck(), Tray()
    stand = Newsstand(db, keys=key_folder, senders={Channel.PUSH: push, Channel.EMAIL: mail})
    anna, ben = await stand.person("Anna"), await stand.person("Ben")
    for person in (anna, ben):
        await stand.choosing.add_device(person.id, token=f"phone-{new_id()}", label="phone")
    courier = stand.courier()
    await stand.hear(payment(None, anna.wallet))
    pushing = asyncio.create_task(courier.deliver_by(Channel.PUSH))
    await push.asked.acquire()

    await stand.hear(new_device(ben))
    await courier.deliver_by(Channel.EMAIL)
    await push.asked.acquire()

    assert {message.user_id for message in mail.messages} == {anna.id, ben.id}
    assert push.messages == []
    push.let_go.set()
    await pushing
    assert {message.user_id for message in push.messages} == {anna.id, ben.id}


class Faltering:
    """A database that once cannot, when it is told to."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.falters = False
        self.has_faltered = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    async def run(self, work: Callable[[Tx], Awaitable[Any]]) -> Any:
        if self.falters:
            self.falters = False
            self.has_faltered.set()
            raise Overloaded
        return await self._db.run(work)


async def test_what_is_under_way_goes_out_once_when_no_more_can_be_claimed(
    db: Database, key_folder: Path
) -> None:
    push, faltering = Stuck(), Faltering(db)
    stand = Newsstand(faltering, keys=key_folder, senders={Channel.PUSH: push})
    anna, ben = await stand.person("Anna"), await stand.person("Ben")
    for person in (anna, ben):
        await stand.choosing.add_device(person.id, token=f"phone-{new_id()}", label="phone")
    await stand.hear(payment(None, anna.wallet), payment(None, ben.wallet))
    pushing = asyncio.create_task(stand.courier().deliver_by(Channel.PUSH))
    for _ in range(2):
        await push.asked.acquire()

    faltering.falters = True
    await faltering.has_faltered.wait()
    push.let_go.set()
    with pytest.raises(Overloaded):
        await pushing

    assert {message.user_id for message in push.messages} == {anna.id, ben.id}
    for person in (anna, ben):
        assert await stand.statuses(person) == [("deposit_received", "push", "sent", None)]


async def test_a_device_is_forgotten_when_the_provider_knows_it_no_more_and_after_no_other_404(
    db: Database, key_folder: Path, tmp_path: Path
) -> None:
    async with providing() as providers:
        account = ServiceAccount.read(providers.write_account(tmp_path / "account.json"))
        push = HttpPush(providers.push_url, account=account)
        stand = Newsstand(db, keys=key_folder, senders={Channel.PUSH: push})
        anna, ben = await stand.person("Anna"), await stand.person("Ben")
        for person in (anna, ben):
            await stand.choosing.add_device(person.id, token=f"of-{person.id}", label="phone")
        courier = stand.courier()
        providers.answers.append(404)
        await stand.hear(payment(None, anna.wallet))
        await courier.deliver()
        providers.unregistered.add(f"of-{ben.id}")
        await stand.hear(payment(None, ben.wallet))

        await courier.deliver()
        await courier.close()

        assert await stand.statuses(anna) == [("deposit_received", "push", "queued", "http_404")]
        assert await stand.statuses(ben) == [("deposit_received", "push", "failed", "device_gone")]
        assert len(await stand.choosing.devices(anna.id)) == 1
        assert await stand.choosing.devices(ben.id) == []


async def test_what_was_chosen_while_a_message_waited_holds_for_it(
    stand: Newsstand, trays: Trays
) -> None:
    anna, ben = await stand.person("Anna"), await stand.person("Ben")
    trays[Channel.EMAIL].failures += [NotDelivered("busy")] * 3
    await stand.hear(payment(anna.wallet, ben.wallet), new_device(anna))
    await stand.courier().deliver()
    now = datetime.now(UTC)
    quiet = QuietHours(
        start=(now - timedelta(hours=1)).time(), end=(now + timedelta(hours=1)).time()
    )
    await stand.choosing.choose(anna.id, Preferences(language="en", time_zone="UTC", quiet=quiet))
    off = {(Category.PAYMENTS, Channel.EMAIL): False}
    await stand.choosing.choose(ben.id, Preferences(language="en", time_zone="UTC", choices=off))
    await stand.db.fetch(
        "UPDATE notifications.deliveries SET due_at = clock_timestamp() RETURNING id"
    )

    await stand.courier().deliver()

    assert await stand.statuses(ben) == [("payment_received", "email", "failed", "switched_off")]
    assert sorted(await stand.statuses(anna)) == [
        ("new_device", "email", "sent", None),
        ("payment_sent", "email", "queued", "busy"),
    ]
    waits = await stand.db.fetchrow(
        "SELECT attempts, due_at > $2 AS later FROM notifications.deliveries "
        "WHERE user_id = $1 AND template = 'payment_sent'",
        anna.id,
        now + timedelta(minutes=30),
    )
    assert waits is not None
    assert tuple(waits) == (1, True)


async def test_messages_that_are_not_due_are_not_looked_through_for_those_that_are(
    stand: Newsstand, superuser: asyncpg.Connection
) -> None:
    anna = await stand.person("Anna")
    await stand.hear(payment(None, anna.wallet))
    await superuser.execute(
        "INSERT INTO notifications.deliveries "
        "(id, user_id, channel, template, category, data, status, due_at) "
        "SELECT gen_random_uuid(), user_id, channel, template, category, data, status, "
        "due_at + interval '1 hour' FROM notifications.deliveries, generate_series(1, 2000)"
    )
    await superuser.execute("ANALYZE notifications.deliveries")

    async with stand.db.transaction() as tx:
        held = await deliveries.hold(tx, limit=500, channels=[Channel.EMAIL])
        read = await rows_read(tx, "notifications.deliveries")

    assert [delivery.user_id for delivery in held] == [anna.id]
    assert read < 100


async def test_security_goes_before_what_has_waited_longer(
    db: Database, key_folder: Path, superuser: asyncpg.Connection
) -> None:
    mail = Tray()
    stand = Newsstand(db, keys=key_folder, senders={Channel.EMAIL: mail})
    anna = await stand.person("Anna")
    await stand.hear(*(payment(None, anna.wallet) for _ in range(40)), new_device(anna))
    await superuser.execute(
        "UPDATE notifications.deliveries SET due_at = due_at - interval '1 hour' "
        "WHERE user_id = $1 AND category <> 'security'",
        anna.id,
    )

    async with stand.db.transaction() as tx:
        claimed = await deliveries.claim(tx, Channel.EMAIL, limit=16, lease_s=0.0)
    assert [one.template for one in claimed] == ["new_device", *["deposit_received"] * 15]
    assert [one.id for one in claimed[1:]] == sorted(one.id for one in claimed[1:])

    await stand.courier().deliver()

    titles = [message.title for message in mail.messages]
    assert len(titles) == 41
    assert "₹100.00 deposited" not in titles[0]
