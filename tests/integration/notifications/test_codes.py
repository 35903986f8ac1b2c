"""Codes on their way to people: sealed until they are sent, to one address, and never too late."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from guilder.identity.events import (
    CodeIssued,
    PasswordChanged,
    code_place,
)
from guilder.kernel.ids import UserId, WalletId
from guilder.notifications.api import Channel
from guilder.notifications.domain.preferences import Preferences, QuietHours
from guilder.notifications.service.channels.simulated import SandboxOutbox
from guilder.platform.db import Database
from guilder.platform.ephemeral import keep, sealed
from guilder.platform.identifiers import new_id
from tests.integration.notifications.conftest import Trays
from tests.support.newsstand import Newsstand, Person, payment

CODE = "847291"
A_WHILE = timedelta(minutes=5)
OVER = "UPDATE platform.ephemeral_keys SET expires_at = clock_timestamp()"


async def issued(
    stand: Newsstand,
    person: Person,
    *,
    channel: str = "sms",
    purpose: str = "login",
    lasts_s: float = 300,
    sealed_for: UserId | None = None,
) -> CodeIssued:
    place = code_place(sealed_for or person.id)
    now = datetime.now(UTC)
    secret = sealed(CODE.encode(), at=place, id_=new_id())
    await stand.db.run(lambda tx: keep(tx, secret, life=A_WHILE, keys=stand.keys))
    return CodeIssued(
        user_id=person.id,
        purpose=purpose,
        channel=channel,
        sealed=b64encode(secret.sealed).decode(),
        issued_at=now,
        expires_at=now + timedelta(seconds=lasts_s),
    )


@pytest.mark.parametrize(
    ("purpose", "wording"),
    [
        ("login", "login_code"),
        ("email", "contact_code"),
        ("phone", "contact_code"),
        ("verification", "verification_code"),
        ("password_reset", "password_reset"),
    ],
)
@pytest.mark.parametrize("channel", [Channel.EMAIL, Channel.SMS])
async def test_code_goes_to_its_one_address_and_into_no_feed(
    channel: Channel, purpose: str, wording: str, stand: Newsstand, trays: Trays
) -> None:
    anna = await stand.person("Anna")

    await stand.hear(await issued(stand, anna, channel=channel.value, purpose=purpose))
    await stand.courier().deliver()

    (message,) = trays[channel].messages
    assert message.to == (anna.email if channel is Channel.EMAIL else anna.phone)
    for part in (message.short, message.text, message.html):
        assert CODE in part
    assert await stand.feed(anna) == []
    assert await stand.statuses(anna) == [(wording, channel.value, "sent", None)]


async def test_code_is_sealed_in_the_database(stand: Newsstand, trays: Trays) -> None:
    anna = await stand.person("Anna")

    await stand.hear(await issued(stand, anna))
    await stand.courier().deliver()

    (message,) = trays[Channel.SMS].messages
    assert CODE in message.short
    kept = await stand.db.fetchval(
        "SELECT string_agg(d::text, '') FROM notifications.deliveries d WHERE user_id = $1", anna.id
    )
    assert CODE not in kept


async def test_code_does_not_wait_for_quiet_hours_to_end(stand: Newsstand, trays: Trays) -> None:
    anna = await stand.person("Anna")
    now = datetime.now(UTC)
    quiet = QuietHours(
        start=(now - timedelta(hours=1)).time(), end=(now + timedelta(hours=1)).time()
    )
    await stand.choosing.choose(anna.id, Preferences(language="hi", time_zone="UTC", quiet=quiet))

    await stand.hear(await issued(stand, anna))
    await stand.courier().deliver()

    (message,) = trays[Channel.SMS].messages
    assert "कोड" in message.short


async def test_code_that_is_over_is_not_sent(
    stand: Newsstand, trays: Trays, superuser: asyncpg.Connection
) -> None:
    anna, ben = await stand.person("Anna"), await stand.person("Ben")
    await stand.hear(await issued(stand, anna, lasts_s=-1), await issued(stand, ben))
    await superuser.execute(
        "UPDATE notifications.deliveries SET data = jsonb_set(data, '{at}', to_jsonb($2::text)) "
        "WHERE user_id = $1",
        ben.id,
        (datetime.now(UTC) - timedelta(seconds=1)).isoformat(),
    )

    await stand.courier().deliver()

    assert trays[Channel.SMS].messages == []
    assert await stand.statuses(anna) == []
    assert await stand.statuses(ben) == [("login_code", "sms", "failed", "too_late")]


async def test_code_of_somebody_else_is_not_opened(stand: Newsstand, trays: Trays) -> None:
    anna = await stand.person("Anna")

    await stand.hear(await issued(stand, anna, sealed_for=UserId(new_id())))
    await stand.courier().deliver()

    assert trays[Channel.SMS].messages == []
    assert await stand.statuses(anna) == [("login_code", "sms", "failed", "code_unreadable")]


async def test_code_for_an_unknown_person_is_let_go(stand: Newsstand) -> None:
    anna = Person(id=UserId(new_id()), wallet=WalletId(new_id()), email="", phone="")

    await stand.hear(await issued(stand, anna))

    assert await stand.statuses(anna) == []


async def test_sandbox_shows_the_code_to_its_reader(db: Database, key_folder: Path) -> None:
    stand = Newsstand(db, keys=key_folder, senders={Channel.SMS: SandboxOutbox(db)})
    anna = await stand.person("Anna")
    await stand.hear(await issued(stand, anna))
    await stand.courier().deliver()

    ((letter, wording),) = await stand.sandbox.page(anna.id, before=new_id(), limit=5)

    assert letter.recipient == anna.phone
    assert CODE in wording.short


async def test_sandbox_shows_a_code_while_it_can_be_used_and_a_message_without_it_then(
    db: Database, key_folder: Path, superuser: asyncpg.Connection
) -> None:
    stand = Newsstand(db, keys=key_folder, senders={Channel.SMS: SandboxOutbox(db)})
    anna = await stand.person("Anna")
    await stand.hear(await issued(stand, anna))
    await stand.courier().deliver()
    await superuser.execute(OVER)

    ((letter, wording),) = await stand.sandbox.page(anna.id, before=new_id(), limit=5)

    assert letter.template == "login_code"
    assert wording.short
    assert CODE not in wording.short + wording.text + wording.html


async def test_code_that_was_used_before_it_was_sent_is_not_sent(
    stand: Newsstand, trays: Trays, superuser: asyncpg.Connection
) -> None:
    anna = await stand.person("Anna")
    await stand.hear(await issued(stand, anna))
    await superuser.execute("DELETE FROM platform.ephemeral_keys")

    await stand.courier().deliver()

    assert trays[Channel.SMS].messages == []
    assert await stand.statuses(anna) == [("login_code", "sms", "failed", "code_unreadable")]


async def test_sandbox_shows_no_code_to_anybody_else(db: Database, key_folder: Path) -> None:
    outbox = SandboxOutbox(db)
    stand = Newsstand(db, keys=key_folder, senders={Channel.SMS: outbox, Channel.EMAIL: outbox})
    anna = await stand.person("Anna")
    await stand.hear(await issued(stand, anna), payment(None, anna.wallet))
    await stand.courier().deliver()

    own = await stand.sandbox.page(anna.id, before=new_id(), limit=5)
    seen = await stand.sandbox.page(anna.id, before=new_id(), limit=5, to_others=True)

    assert {letter.template for letter, _ in own} == {"login_code", "deposit_received"}
    assert {letter.template for letter, _ in seen} == {"deposit_received"}


async def test_changed_password_is_told_everywhere_it_can_be(
    stand: Newsstand, trays: Trays
) -> None:
    anna = await stand.person("Anna")

    await stand.hear(PasswordChanged(user_id=anna.id, by="reset", changed_at=datetime.now(UTC)))
    await stand.courier().deliver()

    (item,) = await stand.feed(anna)
    (mail,) = trays[Channel.EMAIL].messages
    assert (item.template, item.category) == ("password_changed", "security")
    assert mail.title == "Your password was changed"
