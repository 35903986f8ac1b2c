"""What tests of audit ask for."""

from __future__ import annotations

import pytest

from guilder.platform.db import Database
from tests.support.archive import Archive


@pytest.fixture(scope="module")
def archive(db: Database, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return Archive(db=db, home=tmp_path_factory.mktemp("archive"))
