"""Wires notifications: the only file that sees every layer of the context."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from prometheus_client import CollectorRegistry

from guilder.notifications.api import Channel, Sender
from guilder.notifications.consumers import subscriptions
from guilder.notifications.domain.preferences import LANGUAGES, Preferences
from guilder.notifications.http import routes
from guilder.notifications.jobs import jobs
from guilder.notifications.service.channels.http_push import HttpPush, ServiceAccount
from guilder.notifications.service.channels.http_sms import HttpSms
from guilder.notifications.service.channels.simulated import SandboxOutbox, Sunk
from guilder.notifications.service.channels.smtp import SmtpEmail, SmtpServer
from guilder.notifications.service.courier import KEPT_FOR, LEASE_S, Courier
from guilder.notifications.service.figures import Figures
from guilder.notifications.service.forgetting import Forgetting
from guilder.notifications.service.newsroom import Newsroom
from guilder.notifications.service.reading import Choosing, FeedReading, SandboxReading
from guilder.notifications.service.sending import Sending
from guilder.notifications.service.streams import HEARTBEAT_S, StreamHub
from guilder.notifications.service.wording import Writer
from guilder.notifications.store.feed import CHECKS
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys
from guilder.platform.module import Module
from guilder.platform.sink import Sink
from guilder.platform.startup import CannotStart

SIMULATED = "simulated"
"""What a channel's setting says instead of a URL for the sandbox outbox."""


class ProviderUnusable(CannotStart):
    """A channel's provider cannot be used as it is set."""


def senders(
    *,
    db: Database,
    smtp_url: str | None,
    mail_from: str,
    sms_url: str | None,
    sms_from: str,
    push_url: str | None,
    push_credentials: Path | None,
    sink: Sink | None,
) -> dict[Channel, Sender]:
    """What each channel is sent by; a channel whose URL is None is left out.

    Raises:
        ProviderUnusable: a URL or a key file cannot be read.
    """
    outbox = SandboxOutbox(db)
    found: dict[Channel, Sender] = {}
    try:
        if smtp_url is not None:
            found[Channel.EMAIL] = (
                outbox
                if smtp_url == SIMULATED
                else SmtpEmail(SmtpServer.parse(smtp_url), sender=mail_from)
            )
        if sms_url is not None:
            found[Channel.SMS] = (
                outbox if sms_url == SIMULATED else HttpSms(sms_url, sender=sms_from)
            )
        if push_url is not None:
            found[Channel.PUSH] = (
                outbox if push_url == SIMULATED else _push(push_url, credentials=push_credentials)
            )
    except (ValueError, OSError) as error:
        raise ProviderUnusable(f"notifications: {error}") from error
    if sink is None:
        return found
    return {channel: Sunk(sender, sink=sink) for channel, sender in found.items()}


def build(
    *,
    db: Database,
    keys: OuterKeys,
    senders: Mapping[Channel, Sender],
    region: str,
    time_zone: str,
    shows_outbox: bool,
    heartbeat_s: float = HEARTBEAT_S,
    lease_s: float = LEASE_S,
    kept_for: timedelta = KEPT_FOR,
    registry: CollectorRegistry | None = None,
) -> Module:
    """The wired context. ``region`` and ``time_zone`` hold for whoever chose nothing.

    Messages are kept ``kept_for`` so long once they have ended.
    """
    writer = Writer(region=region)
    default = Preferences(language=LANGUAGES[0], time_zone=time_zone)
    newsroom = Newsroom(default=default, reachable=senders)
    courier = Courier(
        db,
        writer=writer,
        contacts=keys,
        senders=senders,
        default=default,
        lease_s=lease_s,
        figures=Figures(registry),
        kept_for=kept_for,
    )
    forgetting = Forgetting(db)
    feed = FeedReading(db, writer=writer, default=default)
    hub = StreamHub(db, feed=feed, heartbeat_s=heartbeat_s)
    return Module(
        name="notifications",
        service_names=("notification",),
        routes=routes(
            reading=feed,
            choosing=Choosing(db, default=default),
            sending=Sending(db, writer=writer, default=default, reachable=senders),
            hub=hub,
            writer=writer,
            sandbox=(
                SandboxReading(db, writer=writer, keys=keys, default=default)
                if shows_outbox
                else None
            ),
        ),
        subscriptions=subscriptions(newsroom, forgetting),
        jobs=jobs(courier, forgetting),
        checks=CHECKS,
        on_start=(keys.learn,),
        on_drain=(hub.close,),
        on_stop=(courier.close,),
    )


def _push(url: str, *, credentials: Path | None) -> HttpPush:
    if credentials is None:
        raise ValueError("push messages need the key file of a service account")
    return HttpPush(url, account=ServiceAccount.read(credentials))
