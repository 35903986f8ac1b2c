"""What a failure of the server means: of the moment, busy, lost, or not to be trusted at all."""

from __future__ import annotations

from typing import Final

import asyncpg

from guilder.kernel.errors import Overloaded


class TryAgain(Exception):
    """Raised by work that has to look again at what another transaction has just committed."""


class RowsBusy(Overloaded):
    """Somebody else kept a row locked for too long; who needs other rows may try at once."""


class LostRead(Exception):
    """A read lost its connection. Nothing was changed, so reading again is safe."""


TRANSIENT: Final = (
    TryAgain,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InternalClientError,  # the server died under a statement
    ConnectionError,
    FileNotFoundError,  # its socket, for who asks the pool itself
)
"""Failures of the moment, not of the work: `Database.run` repeats the work after them."""
BUSY: Final = (
    asyncpg.QueryCanceledError,
    asyncpg.InsufficientResourcesError,  # its disk, its memory or its connections are used up
    asyncpg.ReadOnlySQLTransactionError,  # it is a standby, or was made read-only by its operator
    TimeoutError,
)
"""The server cannot now. Nothing was done, and doing it at once again would meet the same."""
NOT_OF_THE_WORK: Final = (*TRANSIENT, *BUSY, asyncpg.LockNotAvailableError)
"""Failures of the server or of the moment: other work would have met them as well."""
AlreadyThere: Final = asyncpg.UniqueViolationError
"""Raised where a row was written that there is already."""
UNREADABLE: Final = (asyncpg.DataError, LookupError, ValueError)
"""Raised where stored data is not what its column promises: somebody edited it past Guilder."""


class NotDurable(RuntimeError):
    """The server would acknowledge what it can lose: a durability setting is off."""
