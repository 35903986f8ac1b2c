"""How many connections the embedded server takes, and how many there can be."""

from __future__ import annotations

import pytest

from guilder.apps.database import connections_for_all
from guilder.platform.postgres.tuning import server_settings
from guilder.platform.settings import Settings


@pytest.mark.parametrize(
    ("workers", "of_each", "enough"),
    [(1, 10, 2 * 13), (7, 10, 8 * 13), (64, 10, 65 * 13), (1, 500, 2 * 503)],
)
def test_the_server_has_a_connection_for_every_process_and_some_for_others(
    workers: int, of_each: int, enough: int
):
    settings = Settings(workers=workers, database_connections=of_each)

    assert connections_for_all(settings) >= enough + 10


def test_the_server_takes_as_many_connections_as_it_is_told():
    assert server_settings(2**30, max_connections=137)["max_connections"] == "137"
