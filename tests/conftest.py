"""What every test can ask for, and how properties are tried."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.support.database"]

# How long an example takes says something of the machine, and nothing of the code.
settings.register_profile("guilder", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("guilder")


LONGEST_FIRST = ("simulation", "journeys")
"""Folders whose tests take longest. Two processes that share the files end together then."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest tests first; the others keep their order."""
    here = Path(__file__).parent
    ranks = {folder: rank for rank, folder in enumerate(LONGEST_FIRST)}

    def rank(item: pytest.Item) -> int:
        inside = item.path.is_relative_to(here)
        folder = item.path.relative_to(here).parts[0] if inside else ""
        return ranks.get(folder, len(ranks))

    items.sort(key=rank)


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for one test, of a short name: a server's socket lies elsewhere in a long one."""
    return tmp_path_factory.mktemp("t")
