"""Messages on their way: by real protocols, killed in between, refused, delayed, switched off."""

from __future__ import annotations

import asyncio
import json
import signal
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from guilder.kernel.errors import ValidationFailed
from guilder.notifications.api import (
    AddressGone,
    Category,
    Channel,
    DeviceNotFound,
    MessageIdTaken,
    NotDelivered,
    TemplateNotFound,
    Undeliverable,
)
from guilder.notifications.domain.deliveries import MOST_ATTEMPTS
from guilder.notifications.domain.notices import TEMPLATES
from guilder.notifications.domain.preferences import Preferences
from guilder.notifications.module import SIMULATED, senders
from guilder.notifications.service.channels.simulated import SandboxOutbox
from guilder.notifications.service.courier import AFTER_SEND, BEFORE_SEND
from guilder.platform import failpoints
from guilder.platform.db import Database
from guilder.platform.identifiers import new_id
from guilder.platform.sink import Sink
from tests.integration.notifications.conftest import Trays
from tests.support.courier import run
from tests.support.database import OwnDatabase
from tests.support.mailbox import catching
from tests.support.newsstand import Newsstand, Person, payment, registration
from tests.support.providers import providing

PLAIN = {
    "smtp_url": None,
    "mail_from": "Guilder <no-reply@guilder.test>",
    "sms_url": None,
    "sms_from": "+15550100",
    "push_url": None,
    "push_credentials": None,
    "sink": None,
}


async def hurry(stand: Newsstand, person: Person) -> None:
    """Let every pause of theirs be over."""
    await stand.db.fetch(
        "UPDATE notifications.deliveries SET due_at = clock_timestamp() "
        "WHERE user_id = $1 AND status = 'queued' RETURNING id",
        person.id,
    )


async def test_a_mail_goes_out_by_smtp_with_both_texts_and_a_lasting_id(
    db: Database, key_folder: Path
) -> None:
    async with catching() as mailbox:
        url = f"smtp+plain://127.0.0.1:{mailbox.port}"
        found = senders(db=db, **{**PLAIN, "smtp_url": url})
        stand = Newsstand(db, keys=key_folder, senders=found)
        anna = await stand.person("Anna")
        await stand.hear(payment(None, anna.wallet))

        await stand.courier().deliver()

        (mail,) = mailbox.mails
        (delivery_id,) = await db.fetchrow(
            "SELECT id FROM notifications.deliveries WHERE user_id = $1", anna.id
        )
        assert mailbox.recipients == [anna.email]
        assert mail["Subject"] == "₹100.00 deposited"
        assert mail["From"] == "Guilder <no-reply@guilder.test>"
        assert mail["Message-ID"] == f"<{delivery_id}@guilder.test>"
        plain, html = mail.get_body(["plain"]), mail.get_body(["html"])
        assert "Hello Anna," in plain.get_content()
        assert html.get_content().startswith("<!doctype html>")
        assert await stand.statuses(anna) == [("deposit_received", "email", "sent", None)]


async def test_a_mail_is_not_handed_to_a_server_without_the_encryption_that_was_asked_for(
    db: Database, key_folder: Path
) -> None:
    async with catching() as mailbox:
        for scheme in ("smtp", "smtps"):
            url = f"{scheme}://127.0.0.1:{mailbox.port}"
            found = senders(db=db, **{**PLAIN, "smtp_url": url})
            stand = Newsstand(db, keys=key_folder, senders=found)
            anna = await stand.person("Anna")
            await stand.hear(payment(None, anna.wallet))

            await stand.courier().deliver()

            ((_, _, status, reason),) = await stand.statuses(anna)
            assert (status, bool(reason)) == ("queued", True)
        assert mailbox.mails == []


async def test_an_address_that_nobody_has_is_given_up_and_a_busy_server_is_tried_again(
    db: Database, key_folder: Path
) -> None:
    async with catching() as mailbox:
        url = f"smtp+plain://127.0.0.1:{mailbox.port}"
        found = senders(db=db, **{**PLAIN, "smtp_url": url})
        stand = Newsstand(db, keys=key_folder, senders=found)
        anna, ben = await stand.person("Anna"), await stand.person("Ben")
        mailbox.unknown.add(anna.email)
        await stand.hear(payment(None, anna.wallet))
        await stand.courier().deliver()
        mailbox.answers.append("451 4.3.0 later")
        await stand.hear(payment(None, ben.wallet))

        await stand.courier().deliver()
        before = await stand.statuses(ben)
        await hurry(stand, ben)
        await stand.courier().deliver()

        assert await stand.statuses(anna) == [("deposit_received", "email", "failed", "smtp_550")]
        assert before == [("deposit_received", "email", "queued", "smtp_451")]
        assert [status for _, _, status, _ in await stand.statuses(ben)] == ["sent"]
        assert mailbox.recipients == [ben.email]


async def test_texts_and_pushes_go_out_by_http(
    db: Database, key_folder: Path, tmp_path: Path
) -> None:
    async with providing() as providers:
        found = senders(
            db=db,
            **{
                **PLAIN,
                "sms_url": providers.sms_url,
                "push_url": providers.push_url,
                "push_credentials": providers.write_account(tmp_path / "account.json"),
            },
        )
        stand = Newsstand(db, keys=key_folder, senders=found)
        anna = await stand.person("Anna")
        await stand.choosing.add_device(anna.id, token="phone-of-anna", label="phone")
        await stand.choosing.choose(anna.id, wanting_texts())
        await stand.hear(payment(None, anna.wallet), payment(None, anna.wallet))

        courier = stand.courier()
        await courier.deliver()
        await courier.close()

        assert {text["To"] for text in providers.texts} == {anna.phone}
        assert {text["From"] for text in providers.texts} == {"+15550100"}
        assert "₹100.00 came into your wallet" in providers.texts[0]["Body"]
        assert len(set(providers.keys)) == 2
        assert [push["token"] for push in providers.pushes] == ["phone-of-anna"] * 2
        assert providers.pushes[0]["notification"]["title"] == "₹100.00 deposited"
        assert len({push["data"]["message_id"] for push in providers.pushes}) == 2
        assert not any("android" in push for push in providers.pushes)
        assert providers.tokens_given == 1
        assert {status for _, _, status, _ in await stand.statuses(anna)} == {"sent"}


@pytest.mark.parametrize(
    ("answer", "status", "reason"),
    [
        (400, "failed", "http_400"),
        (401, "queued", "http_401"),
        (429, "queued", "http_429"),
        (503, "queued", "http_503"),
        (302, "queued", "http_302"),
    ],
)
async def test_what_a_provider_answers_decides_whether_a_text_is_tried_again(
    db: Database, key_folder: Path, answer: int, status: str, reason: str
) -> None:
    async with providing() as providers:
        found = senders(db=db, **{**PLAIN, "sms_url": providers.sms_url})
        stand = Newsstand(db, keys=key_folder, senders=found)
        anna = await stand.person("Anna")
        await stand.choosing.choose(anna.id, wanting_texts())
        await stand.hear(payment(None, anna.wallet))
        providers.answers.append(answer)

        courier = stand.courier()
        await courier.deliver()
        await courier.close()

        assert await stand.statuses(anna) == [("deposit_received", "sms", status, reason)]


async def test_a_device_without_the_app_is_forgotten(stand: Newsstand, trays: Trays) -> None:
    anna = await stand.person("Anna")
    device = await stand.choosing.add_device(anna.id, token=f"gone-{new_id()}", label="old")
    trays[Channel.PUSH].failures.append(AddressGone("device_gone"))
    await stand.hear(payment(None, anna.wallet))

    await stand.courier().deliver()

    assert ("deposit_received", "push", "failed", "device_gone") in await stand.statuses(anna)
    with pytest.raises(DeviceNotFound):
        await stand.choosing.forget_device(anna.id, device_id=device.id)


async def test_a_device_belongs_to_who_registered_it_last(stand: Newsstand, trays: Trays) -> None:
    anna, ben = await stand.person("Anna"), await stand.person("Ben")
    token = f"shared-{new_id()}"
    await stand.choosing.add_device(anna.id, token=token, label="tablet")
    await stand.hear(payment(None, anna.wallet))

    theirs = await stand.choosing.add_device(ben.id, token=token, label="tablet")
    await stand.courier().deliver()

    assert await stand.choosing.devices(anna.id) == []
    assert [device.id for device in await stand.choosing.devices(ben.id)] == [theirs.id]
    assert trays[Channel.PUSH].messages == []
    assert ("deposit_received", "push", "failed", "no_address") in await stand.statuses(anna)


@pytest.mark.parametrize("place", [BEFORE_SEND, AFTER_SEND])
async def test_a_courier_that_dies_leaves_its_message_to_another(
    stand: Newsstand, trays: Trays, place: str
) -> None:
    anna = await stand.person("Anna")
    await stand.hear(payment(None, anna.wallet))
    failpoints.arm(f"{place}=hit:1:raise")
    try:
        with pytest.raises(ExceptionGroup):
            await stand.courier(lease_s=0.0).deliver()
    finally:
        failpoints.arm("")

    await stand.courier().deliver()

    messages = trays[Channel.EMAIL].messages
    assert len(messages) == (2 if place == AFTER_SEND else 1)
    assert len({message.id for message in messages}) == 1
    assert await stand.statuses(anna) == [("deposit_received", "email", "sent", None)]


@pytest.mark.parametrize("place", [BEFORE_SEND, AFTER_SEND])
async def test_a_killed_process_leaves_its_message_to_another_and_one_copy_arrives(
    db: Database, database: OwnDatabase, key_folder: Path, place: str
) -> None:
    stand = Newsstand(db, keys=key_folder, senders={Channel.EMAIL: SandboxOutbox(db)})
    anna = await stand.person("Anna")
    await stand.hear(payment(None, anna.wallet))

    killed = await asyncio.to_thread(run, database.url(), keys=key_folder, armed=f"{place}=kill")
    before = await stand.statuses(anna)
    await stand.courier().deliver()

    assert killed.returncode == -signal.SIGKILL
    assert f"failpoint {place}: kill" in killed.stderr
    assert before == [("deposit_received", "email", "queued", None)]
    assert await stand.statuses(anna) == [("deposit_received", "email", "sent", None)]
    ((letter, wording),) = await stand.sandbox.page(anna.id, before=new_id(), limit=10)
    assert (letter.recipient, wording.title) == (anna.email, "₹100.00 deposited")
    assert "Hello Anna," in wording.text


async def test_the_sandbox_outbox_has_a_message_once_however_often_it_was_sent(
    db: Database, key_folder: Path
) -> None:
    found = senders(db=db, **{**PLAIN, "smtp_url": SIMULATED})
    stand = Newsstand(db, keys=key_folder, senders=found)
    anna = await stand.person("Anna")
    await stand.hear(payment(None, anna.wallet))
    failpoints.arm(f"{AFTER_SEND}=hit:1:raise")
    try:
        with pytest.raises(failpoints.FailpointReached):
            await stand.courier().deliver()
    finally:
        failpoints.arm("")
    await asyncio.gather(*(stand.courier().deliver() for _ in range(4)))

    laid_out = await stand.sandbox.page(anna.id, before=new_id(), limit=10)

    assert [(letter.channel, letter.recipient) for letter, _ in laid_out] == [("email", anna.email)]


async def test_the_sandbox_outbox_says_who_could_not_be_reached(
    db: Database, key_folder: Path
) -> None:
    found = senders(db=db, **{**PLAIN, "smtp_url": SIMULATED, "push_url": SIMULATED})
    stand = Newsstand(db, keys=key_folder, senders=found)
    anna, ben = await stand.person("Anna"), await stand.person("Ben")
    device = await stand.choosing.add_device(anna.id, token=f"gone-{new_id()}", label="old")
    await stand.hear(payment(anna.wallet, ben.wallet))
    await stand.choosing.forget_device(anna.id, device_id=device.id)

    await stand.courier().deliver()

    assert sorted(await stand.statuses(anna)) == [
        ("payment_sent", "email", "sent", None),
        ("payment_sent", "push", "failed", "no_address"),
    ]
    assert await stand.statuses(ben) == [("payment_received", "email", "sent", None)]


async def test_a_lease_keeps_others_away_and_a_late_record_changes_nothing(
    stand: Newsstand, trays: Trays
) -> None:
    anna = await stand.person("Anna")
    await stand.hear(payment(None, anna.wallet))

    await asyncio.gather(*(stand.courier().deliver() for _ in range(4)))

    assert len(trays[Channel.EMAIL].messages) == 1


async def test_a_message_is_tried_a_number_of_times_and_then_given_up(
    stand: Newsstand, trays: Trays
) -> None:
    anna = await stand.person("Anna")
    await stand.hear(payment(None, anna.wallet))
    trays[Channel.EMAIL].failures += [NotDelivered("busy")] * MOST_ATTEMPTS

    for _ in range(MOST_ATTEMPTS + 1):
        await stand.courier().deliver()
        await hurry(stand, anna)

    assert await stand.statuses(anna) == [("deposit_received", "email", "failed", "busy")]
    assert trays[Channel.EMAIL].failures == []


async def test_a_bug_with_one_message_stops_no_other(stand: Newsstand, trays: Trays) -> None:
    anna = await stand.person("Anna")
    await stand.hear(payment(None, anna.wallet), payment(None, anna.wallet))
    trays[Channel.EMAIL].failures.append(ZeroDivisionError())

    await stand.courier().deliver()

    statuses = sorted(await stand.statuses(anna), key=str)
    assert statuses == [
        ("deposit_received", "email", "queued", "ZeroDivisionError"),
        ("deposit_received", "email", "sent", None),
    ]


async def test_what_is_sent_and_given_up_is_published_without_its_text(
    stand: Newsstand, trays: Trays
) -> None:
    anna = await stand.person("Anna")
    await stand.hear(payment(None, anna.wallet), registration(anna))
    trays[Channel.EMAIL].failures.append(Undeliverable("refused"))

    await stand.courier().deliver()

    rows = await stand.db.fetch(
        "SELECT type, data FROM platform.outbox WHERE key = $1", str(anna.id)
    )
    types = sorted(row["type"].removeprefix("com.guilder.notification.") for row in rows)
    assert types == ["failed", "sent"]
    assert not any(anna.email in row["data"] or "100.00" in row["data"] for row in rows)


async def test_messages_that_ended_long_ago_are_deleted_and_others_stay(
    stand: Newsstand, trays: Trays
) -> None:
    anna, ben = await stand.person("Anna"), await stand.person("Ben")
    await stand.hear(payment(None, anna.wallet), payment(None, ben.wallet))
    trays[Channel.EMAIL].failures.append(NotDelivered("busy"))
    await stand.courier().deliver()
    await stand.courier().clear_old()
    before = await stand.statuses(anna) + await stand.statuses(ben)

    await stand.courier(kept_for=timedelta()).clear_old()

    after = await stand.statuses(anna) + await stand.statuses(ben)
    assert sorted(status for _, _, status, _ in before) == ["queued", "sent"]
    assert after == [("deposit_received", "email", "queued", "busy")]


async def test_metrics_tell_what_was_sent_what_failed_and_what_waits(
    stand: Newsstand, trays: Trays
) -> None:
    registry = CollectorRegistry()
    anna, ben = await stand.person("Anna"), await stand.person("Ben")
    await stand.courier().deliver()
    await stand.hear(payment(None, anna.wallet), payment(anna.wallet, ben.wallet))
    trays[Channel.EMAIL].failures += [NotDelivered("busy"), Undeliverable("refused")]
    courier = stand.courier(registry=registry)

    await courier.deliver()
    await courier.measure()

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"guilder_notification_{name}", labels)

    assert value("messages_total", channel="email", status="sent") == 1
    assert value("messages_total", channel="email", status="failed") == 1
    assert value("postponed_total", channel="email") == 1
    assert (value("queued") or 0) >= 1
    assert value("overdue_seconds") is not None


async def test_the_sink_gets_a_line_for_each_message(
    db: Database, key_folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "sink.jsonl"
    found = senders(db=db, **{**PLAIN, "smtp_url": SIMULATED, "sink": Sink(file)})
    stand = Newsstand(db, keys=key_folder, senders=found)
    anna = await stand.person("Anna")
    await stand.hear(payment(None, anna.wallet), registration(anna))

    await stand.courier().deliver()

    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [(line["kind"], line["to"]) for line in lines] == [("email", anna.email)] * 2
    assert {line["subject"] for line in lines} == {"₹100.00 deposited", "Welcome to Guilder"}


async def test_staff_send_by_template_or_in_their_own_words(stand: Newsstand, trays: Trays) -> None:
    anna = await stand.person("Anna")
    words = {"subject": "Closed on Monday", "text": "Back on Tuesday."}
    wanted = {"channel": Channel.EMAIL, "template": "message", "values": words}
    message_id = new_id()

    (first,) = await stand.sending.send(anna.id, **wanted, message_id=message_id)
    (again,) = await stand.sending.send(anna.id, **wanted, message_id=message_id)
    with pytest.raises(MessageIdTaken):
        await stand.sending.send(
            anna.id,
            channel=Channel.EMAIL,
            template="welcome",
            values={"at": "2026-11-20T10:00:00Z"},
            message_id=message_id,
        )
    await stand.courier().deliver()

    (message,) = trays[Channel.EMAIL].messages
    assert first.id == again.id == message.id == message_id
    assert message.title == "Closed on Monday"
    assert (await stand.sending.look(message_id)).status == "sent"


async def test_what_people_switched_off_is_recorded_and_not_sent(
    stand: Newsstand, trays: Trays
) -> None:
    anna = await stand.person("Anna")
    values = {"subject": "A bargain", "text": "Buy now."}

    (ad,) = await stand.sending.send(
        anna.id,
        channel=Channel.EMAIL,
        template="message",
        values=values,
        category=Category.MARKETING,
    )
    (push,) = await stand.sending.send(
        anna.id,
        channel=Channel.PUSH,
        template="message",
        values=values,
        category=Category.SECURITY,
    )
    await stand.courier().deliver()

    assert (ad.status, ad.reason) == ("suppressed", "switched_off")
    assert (push.status, push.reason) == ("suppressed", "no_address")
    assert trays[Channel.EMAIL].messages == []


async def test_values_have_to_be_those_of_the_template(stand: Newsstand) -> None:
    anna = await stand.person("Anna")

    with pytest.raises(ValidationFailed) as refused:
        await stand.sending.send(
            anna.id, channel=Channel.EMAIL, template="message", values={"subject": "x", "y": "z"}
        )
    with pytest.raises(TemplateNotFound):
        await stand.sending.send(anna.id, channel=Channel.EMAIL, template="none", values={})
    sample = dict(TEMPLATES["deposit_received"].sample)
    year_one = {"at": "0001-01-01T00:00:00Z"}
    for wrong in ({"amount": "NaN"}, {"currency": "XXY"}, {"at": "noon"}, year_one):
        with pytest.raises(ValidationFailed):
            await stand.sending.send(
                anna.id,
                channel=Channel.EMAIL,
                template="deposit_received",
                values={**sample, **wrong},
            )

    assert set(refused.value.details["fields"]) == {"values.text", "values"}


def wanting_texts() -> Preferences:
    return Preferences(
        language="en",
        time_zone="Asia/Kolkata",
        choices={
            (Category.PAYMENTS, Channel.SMS): True,
            (Category.PAYMENTS, Channel.EMAIL): False,
        },
    )
