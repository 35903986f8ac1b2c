"""Fixtures of notifications: a newsstand for each module, with trays instead of providers."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_asyncio

from guilder.notifications.api import Channel
from guilder.platform.db import Database
from tests.support.newsstand import Newsstand, Tray
from tests.support.tampering import Connection

Trays = dict[Channel, Tray]


@pytest_asyncio.fixture(autouse=True)
async def nothing_left(superuser: Connection) -> None:
    """What one test leaves unsent, the next does not send."""
    await superuser.execute("TRUNCATE notifications.deliveries, notifications.sandbox_outbox")


@pytest.fixture
def trays() -> Trays:
    return {channel: Tray() for channel in Channel if channel is not Channel.IN_APP}


@pytest.fixture(scope="module")
def key_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("notifications") / "keys"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def stand(db: Database, key_folder: Path, trays: Trays) -> Newsstand:
    return Newsstand(db, keys=key_folder, senders=trays)
