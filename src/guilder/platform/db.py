"""Connections and transactions. This is the only module that says begin, commit or roll back.

A transaction is answered for only after a synchronous commit. Deadlocks, serialization failures
and lost connections are tried again a bounded number of times with jitter; every statement and
every lock has a time limit, on the server and on the client.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

import asyncpg
import structlog
from asyncpg.pgproto.pgproto import UUID as DriverUUID  # noqa: N811 - for identifiers
from asyncpg.pool import PoolConnectionProxy

from guilder.kernel.errors import Overloaded
from guilder.platform.db_failures import (
    BUSY,
    NOT_OF_THE_WORK,
    TRANSIENT,
    UNREADABLE,
    AlreadyThere,
    LostRead,
    RowsBusy,
    TryAgain,
)
from guilder.platform.db_limits import Limits
from guilder.platform.db_notifying import Notifier
from guilder.platform.db_opening import First, Opening, leave_as_it_is
from guilder.platform.db_rows import Learning
from guilder.platform.uncut import uncut

__all__ = [
    "NOT_OF_THE_WORK",
    "TRANSIENT",
    "UNREADABLE",
    "AlreadyThere",
    "Database",
    "DriverUUID",
    "First",
    "Limits",
    "LostRead",
    "Row",
    "RowsBusy",
    "TryAgain",
    "Tx",
    "rows_done",
]

_log = structlog.get_logger("guilder.database")

Result = TypeVar("Result")
Row: TypeAlias = asyncpg.Record
"""A row: values by column name or position."""
Tx: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"
"""One open transaction. Whoever receives it may read and write, never commit.

Queries take ``$1``-style parameters; a list parameter becomes an array.
"""

# A prepared statement keeps its plan. One made while the tables were empty reads them whole, and
# goes on doing so while they grow, until their statistics are gathered anew.
_WHOLE_TABLE_PLANS: Final = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin")

_TRY_LOCK: Final = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))"
_END_WHEN_FROZEN: Final = """
    SELECT set_config('idle_session_timeout',
        current_setting('idle_in_transaction_session_timeout'), false)
"""
_LIMIT_MS: Final = "SELECT setting::integer FROM pg_settings WHERE name = 'idle_session_timeout'"
_UNLOCK: Final = "SELECT pg_advisory_unlock(hashtextextended($1, 0))"
_LOCK_EVERY_S: Final = 0.5
_ATTEMPTS: Final = 6
_FIRST_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 1.0


_notified: ContextVar[set[str] | None] = ContextVar("guilder_notified", default=None)


@asynccontextmanager
async def savepoint(tx: Tx) -> AsyncIterator[None]:
    """A part of a transaction that can fail alone: what it did is undone, the rest goes on."""
    async with tx.transaction():
        yield


@asynccontextmanager
async def rehearsal(tx: Tx) -> AsyncIterator[None]:
    """A part of a transaction that is undone however it ends: whether it can be done is seen."""
    part = tx.transaction()
    await part.start()
    try:
        yield
    finally:
        await part.rollback()


def notify_after_commit(channel: str) -> None:
    """Wake whoever listens to ``channel`` once the transaction has committed that is open here.

    Several within a moment are one. It can be lost: whoever listens looks by itself as well.
    """
    channels = _notified.get()
    if channels is not None:
        channels.add(channel)


def rows_done(tag: str) -> int:
    """How many rows a statement wrote, by its command tag (``INSERT 0 3``)."""
    return int(tag.rpartition(" ")[2])


class Database:
    """A pool of connections that act as one PostgreSQL role.

    ``run`` is how use cases write: it opens a transaction, calls the work, commits, and only then
    returns. The work may be called again after a failure, so it keeps no state between calls.
    """

    def __init__(
        self,
        pool: asyncpg.Pool[asyncpg.Record],
        *,
        acquire_s: float,
        opening: Opening | None = None,
        learning: Learning | None = None,
    ) -> None:
        self._pool = pool
        self._learning = learning or Learning()
        self._opening = opening
        self._is_closing = False
        self._acquire_s = acquire_s
        self._notifier = Notifier(pool)
        self._hearing: dict[str, list[Callable[[], Awaitable[None]]]] = {}

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        role: str | None = None,
        application_name: str = "guilder",
        max_connections: int = 10,
        limits: Limits | None = None,
        finds_by_index: bool = False,
        plans_once: bool = False,
        first: First | None = None,
    ) -> Database:
        """A pool on ``url``, each session acting as ``role`` when one is given.

        It connects when it is first used. ``finds_by_index`` is for sessions that look rows up by
        their keys: the planner then scans no table from end to end, however small it was when a
        statement was prepared. ``plans_once`` is for those whose statements have one good plan,
        whatever their parameters are. ``first`` is asked for on each new connection, and while it
        is done, in a transaction aside that has all the time it takes, nobody gets one.
        """
        limits = limits or Limits()
        session = {
            "application_name": application_name,
            "timezone": "UTC",
            "synchronous_commit": "on",
            "statement_timeout": str(limits.statement_ms),
            "lock_timeout": str(limits.lock_ms),
            "idle_in_transaction_session_timeout": str(limits.idle_in_transaction_ms),
            "tcp_user_timeout": "10000",
            "tcp_keepalives_idle": "10",
            "jit": "off",
        }
        if finds_by_index:
            session |= dict.fromkeys(_WHOLE_TABLE_PLANS, "off")
        if plans_once:
            session["plan_cache_mode"] = "force_generic_plan"
        if role is not None:
            session["role"] = role
        opening = None
        if first is not None:
            aside = partial(
                cls.connect, url, role=role, application_name=application_name, limits=limits
            )
            opening = Opening(first, aside=aside)

        learning = Learning()

        async def prepare(connection: Any) -> None:
            await learning.teach(connection)
            if opening is not None:
                await opening(connection)

        pool = await asyncpg.create_pool(
            url,
            min_size=0,  # the server may be away now and come back: readiness tells, not the start
            max_size=max_connections,
            timeout=limits.connect_s,
            command_timeout=limits.command_s,
            server_settings=session,
            reset=leave_as_it_is,
            init=prepare,
        )
        return cls(pool, acquire_s=limits.acquire_s, opening=opening, learning=learning)

    @classmethod
    def unconnected(cls) -> Database:
        """One that no query can be put to: for whoever looks at what is built upon it."""
        return cls(asyncpg.create_pool(), acquire_s=Limits().acquire_s)

    async def close(self) -> None:
        """Give every connection back to the server, waiting for running work for a while."""
        self._is_closing = True
        if self._opening is not None:
            await self._opening.close()
        await self._notifier.close()
        try:
            async with asyncio.timeout(10):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        """One read-committed transaction: committed when the block ends, else rolled back.

        Prefer `run`, which also tries again and cannot be cut off by the caller's cancellation.

        Raises:
            TimeoutError: no connection came free in time.
        """
        channels: set[str] = set()
        async with self._begun(channels) as tx:
            yield tx
        await self._tell(channels)

    @asynccontextmanager
    async def _begun(self, channels: set[str]) -> AsyncIterator[Tx]:
        before = _notified.get()
        _notified.set(channels)
        try:
            connection = await self._connection()
            try:
                async with connection.transaction():
                    yield connection
            except asyncpg.InterfaceError as error:
                # The driver calls it misuse to go on, to commit or to roll back on a connection
                # that was lost meanwhile: nothing was sent, and the loss is what happened.
                if _is_lost(connection) or isinstance(error.__context__, TRANSIENT):
                    raise asyncpg.ConnectionDoesNotExistError(str(error)) from error
                raise
            finally:
                await self._pool.release(connection)
        finally:
            _notified.set(before)

    async def _tell(self, channels: set[str]) -> None:
        if channels:
            self._notifier.notify(channels)
            for channel in channels & self._hearing.keys():
                for hear in tuple(self._hearing[channel]):
                    try:
                        await hear()
                    except Exception:  # noqa: BLE001 - what it hears of is done, and told as done
                        _log.exception("database.not_heard", channel=channel)

    async def _connection(self) -> Tx:
        """A connection of the pool, to be given back.

        Raises:
            TimeoutError: others have had them all for too long, or there are to be none any more.
            ConnectionError: the server cannot be reached, for whatever reason there is.
        """
        try:
            if self._pool.get_idle_size():  # a timer costs as much as the rest of this
                connection = await self._pool.acquire()
            else:
                async with asyncio.timeout(self._acquire_s):
                    connection = await self._pool.acquire()
            return await self._informed(connection) if self._learning.is_early else connection
        except asyncpg.InterfaceError:
            if self._is_closing:
                raise TimeoutError from None
            raise
        except (TimeoutError, ConnectionError):
            raise
        except OSError as error:  # its name is not known now, or there is no way to it
            raise ConnectionError(str(error)) from error

    async def _informed(self, connection: Tx) -> Tx:
        """A connection that knows what the database has been migrated to since the pool opened."""
        try:
            if not await self._learning.is_over(connection):
                return connection
            await self._pool.expire_connections()
        except BaseException:
            await self._pool.release(connection)
            raise
        await self._pool.release(connection)  # which closes it
        return await self._connection()

    @contextmanager
    def hearing(self, channel: str, hear: Callable[[], Awaitable[None]]) -> Iterator[None]:
        """Await ``hear`` after each commit of this pool that notifies ``channel``, before `run`
        returns, as long as the block lasts. It must not raise: what it hears of is done.
        """
        listed = self._hearing.setdefault(channel, [])
        listed.append(hear)
        try:
            yield
        finally:
            listed.remove(hear)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Tx]:
        """One read-only transaction in which every query sees the same moment.

        Raises:
            Overloaded: the connection was lost (then `LostRead` is the cause) or nobody answers.
        """
        async with (
            self.reading() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Tx]:
        """A connection for reads of which each one may see its own moment: no transaction.

        Raises:
            Overloaded: the connection was lost (then `LostRead` is the cause) or nobody answers.
        """
        try:
            connection = await self._connection()
            try:
                yield connection
            except asyncpg.InterfaceError as error:
                if _is_lost(connection):
                    raise LostRead from error
                raise
            finally:
                await self._pool.release(connection)
        except (asyncpg.LockNotAvailableError, *BUSY) as error:
            raise Overloaded from error
        except (LostRead, *TRANSIENT) as error:
            raise Overloaded from LostRead(type(error).__name__)

    async def run(self, work: Callable[[Tx], Awaitable[Result]]) -> Result:
        """Do ``work`` in one transaction and return its result after the commit.

        The caller's cancellation does not cut the transaction: it ends as it would have.

        Raises:
            RowsBusy: somebody else kept a row locked for longer than this pool waits.
            Overloaded: a connection or the server was not there in time, the server has no room or
                takes no writes, or every attempt failed.
        """
        running = asyncio.ensure_future(self._run(work))
        return await uncut(running, told_as="database.failed_alone")

    async def _run(self, work: Callable[[Tx], Awaitable[Result]]) -> Result:
        # Of all attempts that may have committed, however the last one ends.
        channels: set[str] = set()
        try:
            return await self._try(work, channels)
        finally:
            await self._tell(channels)

    async def _try(self, work: Callable[[Tx], Awaitable[Result]], channels: set[str]) -> Result:
        pause_s = _FIRST_PAUSE_S
        for attempt in range(1, _ATTEMPTS + 1):
            told: set[str] = set()
            try:
                async with self._begun(told) as tx:
                    result = await work(tx)
            except asyncpg.LockNotAvailableError as error:
                raise RowsBusy from error
            except BUSY as error:
                if isinstance(error, TimeoutError):
                    channels |= told
                raise Overloaded from error
            except TRANSIENT as error:
                channels |= told
                if attempt == _ATTEMPTS:
                    raise Overloaded from error
            else:
                channels |= told
                return result
            await asyncio.sleep(random.uniform(0, pause_s))  # noqa: S311 - jitter, not a secret
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        raise AssertionError  # pragma: no cover - the loop returns or raises

    async def fetch(self, query: str, *args: Any) -> Sequence[Row]:
        """The rows of one query outside any transaction block."""
        return await self._pool.fetch(query, *args)

    async def fetchrow(self, query: str, *args: Any) -> Row | None:
        """The first row of one query outside any transaction block."""
        return await self._pool.fetchrow(query, *args)

    async def fetchval(self, query: str, *args: Any) -> Any:
        """The first value of the first row of one query outside any transaction block."""
        return await self._pool.fetchval(query, *args)

    @asynccontextmanager
    async def listen(self, channel: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever somebody notifies ``channel``, as long as the block lasts.

        It only wakes: while the listening connection is lost, and until there is another, nothing
        is set, so whoever waits looks by itself from time to time.
        """
        woken = asyncio.Event()
        listening = asyncio.create_task(self._listen(channel, woken=woken))
        try:
            yield woken
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _listen(self, channel: str, *, woken: asyncio.Event) -> None:
        def wake(*_: object) -> None:
            woken.set()

        while True:
            lost = asyncio.Event()

            def lose(*_: object, lost: asyncio.Event = lost) -> None:
                lost.set()

            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                async with self._pool.acquire() as connection:
                    connection.add_termination_listener(lose)
                    try:
                        await connection.add_listener(channel, wake)
                        woken.set()  # what came before is not announced any more
                        await lost.wait()
                    finally:
                        connection.remove_termination_listener(lose)
                        connection.terminate()  # it would go on listening for nobody
            await asyncio.sleep(_LONGEST_PAUSE_S)

    @asynccontextmanager
    async def exclusively(self, name: str) -> AsyncIterator[asyncio.Event]:
        """Wait until no other process is in such a block of this ``name``, and be the one.

        No transaction is open meanwhile. What it gives is set when the lock is lost with its
        connection: others may be the one then, so the block should end. A process that is frozen
        loses it after as long as it would lose an open transaction.
        """
        lost = asyncio.Event()

        def lose(*_: object) -> None:
            lost.set()

        async with self._pool.acquire() as connection:
            connection.add_termination_listener(lose)
            try:
                while not await connection.fetchval(_TRY_LOCK, name):  # noqa: ASYNC110 - the other is another process
                    await asyncio.sleep(_LOCK_EVERY_S)
                living = asyncio.create_task(_show_life(connection))
                try:
                    yield lost
                finally:
                    living.cancel()
                    await asyncio.gather(living, return_exceptions=True)
                with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                    await connection.fetchval(_UNLOCK, name)
            finally:
                connection.remove_termination_listener(lose)
                connection.terminate()  # the lock goes with it, however the block ended


async def _show_life(connection: Tx) -> None:
    """Keep a session from being ended as one whose process is frozen, until cancelled."""
    await connection.fetchval(_END_WHEN_FROZEN)
    limit_ms: int = await connection.fetchval(_LIMIT_MS)
    while limit_ms:
        await asyncio.sleep(limit_ms / 4_000)
        await connection.fetchval("SELECT 1")


def _is_lost(connection: Tx) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        return True  # the pool has taken it back, as it does when a session ends by itself
