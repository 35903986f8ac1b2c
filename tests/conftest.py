"""What every test can ask for, and how properties are tried."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.support.database"]

# How long an example takes says something of the machine, and nothing of the code.
settings.register_profile("guilder", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("guilder")


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for one test, of a short name: a server's socket lies elsewhere in a long one."""
    return tmp_path_factory.mktemp("t")
