"""What goes first, what waits for what, and what is judged again just before it is sent."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg

from guilder.notifications.api import Channel
from guilder.platform.db import Database
from guilder.platform.identifiers import new_id
from tests.support.newsstand import Newsstand, Stuck, Tray, new_device, payment


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

    await stand.courier().deliver()

    titles = [message.title for message in mail.messages]
    assert len(titles) == 41
    assert "₹100.00 deposited" not in titles[0]
