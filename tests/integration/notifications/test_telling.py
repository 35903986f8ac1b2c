"""What people are told of what happens, in which order, and where it goes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, time, timedelta

import msgspec
import pytest

from guilder.identity.api.sessions import EndReason
from guilder.identity.events import PasswordChanged
from guilder.kernel.ids import EventId, WalletId
from guilder.notifications.api import Category, Channel, DeviceNotFound, NoticeNotFound
from guilder.notifications.consumers import subscriptions
from guilder.notifications.domain.notices import OwnerUnknown
from guilder.notifications.domain.preferences import Preferences, QuietHours
from guilder.notifications.store.feed import CHECKS
from guilder.platform.bus import Event
from guilder.platform.checks import run_checks
from guilder.platform.identifiers import new_id
from guilder.webhooks.events import EndpointDisabled
from tests.support.newsstand import (
    DEFAULT,
    Newsstand,
    ended,
    failure,
    new_device,
    payment,
    registration,
)


async def test_both_sides_are_told_in_their_feeds_and_by_mail(stand: Newsstand) -> None:
    anna, ben = await stand.person("Anna"), await stand.person("Ben")

    await stand.hear(payment(anna.wallet, ben.wallet))

    (sent,) = await stand.feed(anna)
    (received,) = await stand.feed(ben)
    assert (sent.template, sent.title) == ("payment_sent", "₹100.00 sent")
    assert (received.template, received.title) == ("payment_received", "₹100.00 received")
    assert await stand.statuses(anna) == [("payment_sent", "email", "queued", None)]
    assert await stand.statuses(ben) == [("payment_received", "email", "queued", None)]


async def test_a_feed_is_numbered_without_gaps_in_the_order_of_what_happened(
    stand: Newsstand,
) -> None:
    anna, ben = await stand.person("Anna"), await stand.person("Ben")

    await stand.hear(*(payment(anna.wallet, ben.wallet) for _ in range(3)))
    await asyncio.gather(*(stand.hear(payment(ben.wallet, anna.wallet)) for _ in range(8)))

    for person in (anna, ben):
        items = await stand.feed(person)
        assert [item.sequence for item in items] == list(range(2, 13))
    (check,) = await run_checks(stand.db, CHECKS)
    assert check.findings == ()


async def test_a_payment_to_a_wallet_not_yet_heard_of_is_left_for_later(stand: Newsstand) -> None:
    anna, unknown = await stand.person("Anna"), WalletId(new_id())

    with pytest.raises(OwnerUnknown):
        await stand.hear(payment(anna.wallet, unknown))

    assert await stand.feed(anna) == []


async def test_a_new_user_is_welcomed_and_gets_the_wallets_details(stand: Newsstand) -> None:
    anna = await stand.person("Anna")

    await stand.hear(registration(anna), stand.wallet(anna))

    items = await stand.reading.page(anna.id, before=10, limit=10)
    assert [shown.item.template for shown in reversed(items)] == [
        "account_details",
        "welcome",
        "account_details",
    ]
    assert await stand.statuses(anna) == [
        ("welcome", "email", "queued", None),
        ("account_details", "email", "queued", None),
    ]


async def test_failures_and_limits_are_told_to_who_tried(stand: Newsstand) -> None:
    anna = await stand.person("Anna")

    await stand.hear(failure(anna, "INSUFFICIENT_FUNDS"), failure(anna, "LIMIT_EXCEEDED"))

    failed, limited = await stand.feed(anna)
    assert "not enough money" in failed.body
    assert limited.template == "limit_reached"


async def test_a_sign_in_on_a_new_device_is_told(stand: Newsstand) -> None:
    anna = await stand.person("Anna")

    await stand.hear(new_device(anna))

    (notice,) = await stand.feed(anna)
    assert (notice.template, notice.category) == ("new_device", "security")


async def test_only_a_stolen_session_is_told_of_those_that_end(stand: Newsstand) -> None:
    anna = await stand.person("Anna")

    await stand.hear(*(ended(anna, reason=reason) for reason in EndReason))

    (notice,) = await stand.feed(anna)
    assert (notice.template, notice.category) == ("session_stolen", "security")


async def test_yesterdays_news_stand_in_the_feed_and_are_not_sent(stand: Newsstand) -> None:
    anna = await stand.person("Anna")

    await stand.hear(stand.wallet(anna), at=datetime.now(UTC) - timedelta(days=2))

    assert len(await stand.reading.page(anna.id, before=10, limit=10)) == 2
    assert await stand.statuses(anna) == []


async def test_choices_decide_where_news_go(stand: Newsstand) -> None:
    anna = await stand.person("Anna")
    chosen = Preferences(
        language="hi",
        time_zone="Asia/Kolkata",
        choices={
            (Category.PAYMENTS, Channel.EMAIL): False,
            (Category.PAYMENTS, Channel.SMS): True,
            (Category.ACCOUNT, Channel.IN_APP): False,
        },
    )
    await stand.choosing.choose(anna.id, chosen)
    await stand.choosing.add_device(anna.id, token="phone-1", label="phone")
    await stand.choosing.add_device(anna.id, token="tablet-1", label="tablet")

    await stand.hear(payment(None, anna.wallet), registration(anna))

    (deposit,) = await stand.feed(anna)
    assert deposit.title == "₹100.00 जमा हुए"
    assert sorted(await stand.statuses(anna)) == [
        ("deposit_received", "push", "queued", None),
        ("deposit_received", "push", "queued", None),
        ("deposit_received", "sms", "queued", None),
        ("welcome", "email", "queued", None),
    ]
    assert await stand.choosing.preferences(anna.id) == chosen


async def test_quiet_hours_delay_what_is_sent_but_not_security(stand: Newsstand) -> None:
    anna = await stand.person("Anna")
    all_day = QuietHours(start=time(0), end=time(23, 59))
    now = datetime.now(UTC)
    zone = "UTC" if now.time() < time(23, 50) else "Asia/Kolkata"
    await stand.choosing.choose(anna.id, Preferences(language="en", time_zone=zone, quiet=all_day))

    await stand.hear(payment(None, anna.wallet), new_device(anna))

    rows = await stand.db.fetch(
        "SELECT template, due_at > $2 AS later FROM notifications.deliveries "
        "WHERE user_id = $1 ORDER BY id",
        anna.id,
        datetime.now(UTC),
    )
    assert [tuple(row) for row in rows] == [("deposit_received", True), ("new_device", False)]
    assert len(await stand.feed(anna)) == 2


async def test_who_chose_a_time_zone_that_is_not_known_here_is_told_by_the_default(
    stand: Newsstand,
) -> None:
    anna, ben = await stand.person("Anna"), await stand.person("Ben")
    lost = Preferences(
        language="en", time_zone="Mars/Olympus", quiet=QuietHours(start=time(22), end=time(7))
    )
    await stand.choosing.choose(anna.id, lost)

    await stand.hear(payment(anna.wallet, ben.wallet))

    assert [told.template for told in await stand.feed(anna)] == ["payment_sent"]
    assert [told.template for told in await stand.feed(ben)] == ["payment_received"]
    assert (await stand.choosing.preferences(anna.id)).time_zone == DEFAULT.time_zone


async def test_old_news_of_security_are_sent_all_the_same(stand: Newsstand) -> None:
    anna = await stand.person("Anna")
    long_ago = datetime.now(UTC) - timedelta(days=30)

    await stand.hear(PasswordChanged(user_id=anna.id, by="reset", changed_at=long_ago))

    assert await stand.statuses(anna) == [("password_changed", "email", "queued", None)]


async def test_reading_counts_once_and_only_for_its_owner(stand: Newsstand) -> None:
    anna, ben = await stand.person("Anna"), await stand.person("Ben")
    await stand.hear(payment(anna.wallet, ben.wallet), payment(anna.wallet, ben.wallet))
    first, _ = await stand.feed(anna)
    assert await stand.reading.count_unread(anna.id) == 3

    read = await stand.reading.read(anna.id, notice_id=first.id)
    again = await stand.reading.read(anna.id, notice_id=first.id)
    with pytest.raises(NoticeNotFound) as refused:
        await stand.reading.read(ben.id, notice_id=first.id)
    with pytest.raises(NoticeNotFound) as unknown:
        await stand.reading.read(ben.id, notice_id=new_id())

    assert (refused.value.turns_away, unknown.value.turns_away) == (True, False)
    assert read.item.read_at == again.item.read_at is not None
    assert await stand.reading.count_unread(anna.id) == 2
    await stand.reading.read_all(anna.id)
    assert await stand.reading.count_unread(anna.id) == 0
    assert await stand.reading.count_unread(ben.id) == 3


async def test_somebody_elses_device_is_not_found_and_that_is_a_denial(stand: Newsstand) -> None:
    anna, ben = await stand.person("Anna"), await stand.person("Ben")
    hers = await stand.choosing.add_device(anna.id, token=f"hers-{new_id()}", label="phone")

    with pytest.raises(DeviceNotFound) as refused:
        await stand.choosing.forget_device(ben.id, device_id=hers.id)
    with pytest.raises(DeviceNotFound) as unknown:
        await stand.choosing.forget_device(ben.id, device_id=new_id())

    assert (refused.value.turns_away, unknown.value.turns_away) == (True, False)
    assert len(await stand.choosing.devices(anna.id)) == 1


async def test_the_owner_of_a_disabled_webhook_hears_of_it_as_webhooks_publish_it(
    stand: Newsstand,
) -> None:
    anna = await stand.person("Anna")
    fact = EndpointDisabled(
        endpoint_id=new_id(),
        owner_id=anna.id,
        host="hooks.example.com",
        reason="failing",
        disabled_at=datetime.now(UTC),
    )
    event = Event(
        id=EventId(new_id()),
        type=fact.TYPE,
        key=str(fact.endpoint_id),
        time=datetime.now(UTC),
        data=msgspec.json.decode(msgspec.json.encode(fact)),
    )
    (subscription,) = subscriptions(stand.newsroom, stand.forgetting)

    await stand.db.run(lambda tx: subscription.hear(tx, [event]))

    (notice,) = await stand.feed(anna)
    assert (notice.template, notice.category) == ("webhook_disabled", "account")
