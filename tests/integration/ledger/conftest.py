"""What tests of the ledger ask for."""

from __future__ import annotations

import pytest

from guilder.platform.db import Database
from tests.support.ledger import Teller


@pytest.fixture
def teller(db: Database) -> Teller:
    return Teller(db)
