"""What of notifications is there in a sandbox, and what in production."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from guilder.apps.compose import build_house
from guilder.notifications.api import Channel
from guilder.notifications.consumers import FACTS
from guilder.notifications.module import SIMULATED, ProviderUnusable, senders
from guilder.platform.db import Database
from guilder.platform.settings import WrongSettings, load

PRODUCTION = {
    "GUILDER_ENV": "production",
    "GUILDER_ALLOWED_HOSTS": "pay.example.com",
    "GUILDER_PUBLIC_URL": "https://pay.example.com",
}
NOBODY = {
    "mail_from": "Guilder <no-reply@guilder.test>",
    "sms_from": "Guilder",
    "push_credentials": None,
    "sink": None,
}


def paths(environ: Mapping[str, str], folder: Path) -> set[str]:
    settings, _ = load({**environ, "GUILDER_DATA_DIR": str(folder)}, folder=folder)
    house = build_house(settings, db=Database.unconnected())
    (module,) = [module for module in house.here if module.name == "notifications"]
    return {route.path for route in module.routes}


async def test_the_outbox_is_shown_in_a_sandbox_and_not_in_production(tmp_path: Path) -> None:
    outbox = "/notifications/sandbox-outbox"

    assert outbox in paths({}, tmp_path)
    assert outbox not in paths(PRODUCTION, tmp_path)
    assert outbox not in paths({**PRODUCTION, "GUILDER_SMTP_URL": SIMULATED}, tmp_path)


def test_the_sink_is_refused_in_production(tmp_path: Path) -> None:
    with pytest.raises(WrongSettings, match="GUILDER_SINK_FILE"):
        load({**PRODUCTION, "GUILDER_SINK_FILE": "sink.jsonl"}, folder=tmp_path)


async def test_a_channel_without_a_provider_is_not_there() -> None:
    found = senders(
        db=Database.unconnected(), smtp_url=SIMULATED, sms_url=None, push_url=None, **NOBODY
    )

    assert set(found) == {Channel.EMAIL}


@pytest.mark.parametrize(
    "wrong", [{"smtp_url": "mail.example.com"}, {"push_url": "https://push.example.com"}], ids=str
)
async def test_a_provider_that_cannot_be_used_stops_the_start(wrong: dict[str, str]) -> None:
    urls: dict[str, str | None] = {"smtp_url": None, "sms_url": None, "push_url": None}

    with pytest.raises(ProviderUnusable):
        senders(db=Database.unconnected(), **{**NOBODY, **urls, **wrong})


def test_every_event_that_is_heard_is_one_that_is_published() -> None:
    assert {
        "com.guilder.user.registered",
        "com.guilder.user.contact_changed",
        "com.guilder.user.new_device_used",
        "com.guilder.user.sessions_ended",
        "com.guilder.user.password_changed",
        "com.guilder.user.outside_identity_linked",
        "com.guilder.user.outside_identity_unlinked",
        "com.guilder.client.added",
        "com.guilder.client.secret_rotated",
        "com.guilder.user.code_issued",
        "com.guilder.user.second_factor_added",
        "com.guilder.user.second_factor_removed",
        "com.guilder.user.second_factors_reset",
        "com.guilder.user.second_factor_guessed",
        "com.guilder.user.sign_in_codes_guessed",
        "com.guilder.user.recovery_codes_replaced",
        "com.guilder.user.recovery_code_used",
        "com.guilder.account.created",
        "com.guilder.transaction.completed",
        "com.guilder.transaction.failed",
        "com.guilder.webhook.endpoint_disabled",
    } == set(FACTS)
