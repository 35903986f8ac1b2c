"""Fixtures of notifications: a newsstand for each module, with trays instead of providers."""

from __future__ import annotations

from pathlib import Path

import pytest

from guilder.notifications.api import Channel
from guilder.platform.db import Database
from tests.support.newsstand import Newsstand, Tray

Trays = dict[Channel, Tray]


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
