"""What can be wrong with the embedded PostgreSQL, each told in a line that says what to do."""

from __future__ import annotations

from guilder.platform.startup import CannotStart


class PostgresUnavailable(CannotStart):
    """The embedded server cannot be used here; the message says why and what to do."""


class DataFolderInUse(PostgresUnavailable):
    """Another Guilder holds this data folder."""
