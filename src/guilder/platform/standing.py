"""What is still true of those who hold access tokens: a copy in memory of what has been revoked.

A token lives for minutes. Its session may end, its user be frozen, its roles change before that;
each of these is a row in the database, and every process that verifies tokens keeps a copy, for
as long as a token may live. The copy is asked on every request and costs a comparison. It is fed
by notifications, by looking every second, and, in the process that made the change, before that
process answers. A copy that could not be fed for a few seconds is not believed: requests then wait
for a read of the database that succeeds, or are refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from enum import StrEnum
from typing import Any, Final, Generic, Protocol, TypeVar
from uuid import UUID

import structlog
from msgspec import Struct

from guilder.kernel.errors import Overloaded
from guilder.platform.keys import ACCESS_TOKEN_LIFE_S
from guilder.platform.permissions import Definitions
from guilder.platform.uncut import uncut

CHANNEL: Final = "guilder_revocations"
PATIENCE_S: Final = 5.0
"""How old the copy may be and still be believed."""
KEPT_S: Final = ACCESS_TOKEN_LIFE_S + 300
"""How long a revocation matters: a token's life, and as long as signing one might take."""
_EVERY_S: Final = 1.0

Value = TypeVar("Value")
_log = structlog.get_logger("guilder.standing")


class Kind(StrEnum):
    """What a revocation is about."""

    SESSION_ENDED = "session_ended"
    TOKEN_ENDED = "token_ended"  # noqa: S105 - a kind, not a secret
    USER_FROZEN = "user_frozen"
    USER_UNFROZEN = "user_unfrozen"
    ROLES_CHANGED = "roles_changed"
    DEFINITIONS_CHANGED = "definitions_changed"


class Revocation(Struct, frozen=True, kw_only=True):
    """One row: of two on the same subject, the one with the higher ``position`` is right."""

    position: int
    kind: Kind
    subject_id: UUID | None
    roles: frozenset[str] = frozenset()


class Batch(Struct, frozen=True, kw_only=True):
    """What a read found. Every transaction below ``horizon`` is over and was seen."""

    horizon: int
    revocations: Sequence[Revocation]


class Feed(Protocol):
    """Where revocations are read from, and who says that there are new ones."""

    async def read(self, *, after: int) -> Batch:
        """What was revoked in the transaction numbered ``after`` and in later ones."""
        ...

    async def definitions(self) -> Definitions:
        """What roles grant now."""
        ...

    def listening(self) -> AbstractAsyncContextManager[asyncio.Event]:
        """An event that is set whenever any process has revoked something; it may be lost."""
        ...

    def hearing(self, hear: Callable[[], Awaitable[None]]) -> AbstractContextManager[None]:
        """Calls ``hear`` after each commit of this process that revoked something."""
        ...


class _Facts(Generic[Value]):
    """The newest value of each subject, for a while after it was learnt."""

    def __init__(self) -> None:
        self._facts: dict[UUID, tuple[int, float, Value]] = {}

    def __len__(self) -> int:
        return len(self._facts)

    def of(self, subject_id: UUID) -> Value | None:
        fact = self._facts.get(subject_id)
        return None if fact is None else fact[2]

    def learn(self, subject_id: UUID, *, position: int, at: float, value: Value) -> bool:
        """Whether it is news."""
        known = self._facts.get(subject_id)
        if known is not None and known[0] >= position:
            return False
        self._facts.pop(subject_id, None)  # so that the order stays the order of learning
        self._facts[subject_id] = (position, at, value)
        return True

    def forget(self, *, before: float) -> None:
        while self._facts:
            oldest = next(iter(self._facts))
            if self._facts[oldest][1] >= before:
                return
            del self._facts[oldest]

    def clear(self) -> None:
        self._facts.clear()


class Standing:
    """The copy, and what keeps it fed. ``version`` changes whenever a judgement could."""

    def __init__(
        self,
        feed: Feed,
        *,
        patience_s: float = PATIENCE_S,
        kept_s: float = KEPT_S,
        every_s: float = _EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._feed = feed
        self._patience_s = patience_s
        self._kept_s = kept_s
        self._every_s = every_s
        self._clock = clock
        self.version = 0
        self._horizon = 0
        self._fed_at = -math.inf
        self._flight: asyncio.Task[None] | None = None
        self._is_reading = False
        self._ended: _Facts[bool] = _Facts()
        self._frozen: _Facts[bool] = _Facts()
        self._roles: _Facts[frozenset[str]] = _Facts()
        self._defined_at = -1
        self._definitions = Definitions(roles={}, permissions=frozenset())
        self._granted: dict[frozenset[str], frozenset[str]] = {}

    @property
    def is_fed(self) -> bool:
        """Whether the copy is young enough to be believed."""
        return self._clock() - self._fed_at <= self._patience_s

    def __len__(self) -> int:
        """How many revocations are kept."""
        return len(self._ended) + len(self._frozen) + len(self._roles)

    def refuses(self, ids: Iterable[UUID | None], *, people: Iterable[UUID | None]) -> bool:
        """Whether one of the session and token ``ids`` has ended, or one of ``people`` is frozen.

        ``people`` are the subject of a token and the customer behind it.
        """
        return any(one is not None and self._ended.of(one) is not None for one in ids) or any(
            one is not None and self._frozen.of(one) is True for one in people
        )

    def roles_of(self, account_id: UUID, *, told: frozenset[str]) -> frozenset[str]:
        """The roles of an account whose token tells these."""
        changed = self._roles.of(account_id)
        return told if changed is None else changed

    def permissions_of(self, roles: frozenset[str]) -> frozenset[str]:
        """Everything that ``roles`` grant together. An unknown role grants nothing."""
        granted = self._granted.get(roles)
        if granted is None:
            granted = self._definitions.granted(roles)
            if len(self._granted) < 1024:  # roles come signed, so there are not many sets of them
                self._granted[roles] = granted
        return granted

    async def ensure_fed(self) -> None:
        """Return once the copy may be believed.

        Raises:
            Overloaded: the database could not be asked.
        """
        if self.is_fed:
            return
        flight = self._flight
        try:
            if flight is not None and not flight.done():
                await uncut(flight)
            else:
                await self.refresh()
        except Exception as failure:
            raise Overloaded from failure

    async def refresh(self) -> None:
        """Learn everything that was committed before this call.

        Whoever asks meanwhile shares one read, and its failure, whatever that is.
        """
        under_way = self._flight
        if under_way is not None and self._is_reading:
            await asyncio.wait([under_way])  # it began before this call
        if self._flight is None or self._flight.done():
            self._flight = asyncio.create_task(self._read())
        await uncut(self._flight)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the copy fed as long as the block lasts."""
        with self._feed.hearing(self._hear):
            watching = asyncio.create_task(self._watch())
            try:
                await self._try_to_refresh()
                yield
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self) -> None:
        async with self._feed.listening() as woken:
            while True:
                woken.clear()
                await self._try_to_refresh()
                # not wait_for, which forgets that it was cancelled when it is woken just then
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._every_s):
                        await woken.wait()

    async def _hear(self) -> None:
        """This process has revoked something: it acts before anybody is answered, or nothing does.

        What cannot be read now makes the copy one that is not believed.
        """
        if not await self._try_to_refresh():
            self._fed_at = -math.inf

    async def _try_to_refresh(self) -> bool:
        try:
            await self.refresh()
        except Exception as failure:  # noqa: BLE001 - the database is away: the copy grows old
            _log.warning("standing.not_fed", failure=type(failure).__name__)
            return False
        return True

    async def _read(self) -> None:
        self._is_reading = True
        try:
            await self._learn_what_is_new()
        finally:
            self._is_reading = False

    async def _learn_what_is_new(self) -> None:
        began_at, is_first = self._clock(), self._defined_at < 0
        async with asyncio.timeout(self._patience_s):
            batch = await self._feed.read(after=self._horizon)
            is_anew = batch.horizon < self._horizon  # a restored database counts from elsewhere
            if is_anew:
                batch = await self._feed.read(after=0)
            defined_at = _last_definition(batch)
            reads_definitions = is_first or is_anew or defined_at > self._defined_at
            definitions = await self._feed.definitions() if reads_definitions else None
        if is_anew:
            for facts in (self._ended, self._frozen, self._roles):
                facts.clear()
            self.version += 1
        if definitions is not None:
            self._define(definitions, at=max(defined_at, 0))
        for revocation in batch.revocations:
            self._learn(revocation, at=began_at)
        self._forget(before=began_at - self._kept_s)
        self._horizon, self._fed_at = batch.horizon, began_at

    def _define(self, definitions: Definitions, *, at: int) -> None:
        self._defined_at = at
        self._definitions = definitions
        self._granted = {}
        self.version += 1

    def _learn(self, revocation: Revocation, *, at: float) -> None:
        subject_id = revocation.subject_id
        if subject_id is None:
            return
        known: dict[str, Any] = {"position": revocation.position, "at": at}
        match revocation.kind:
            case Kind.ROLES_CHANGED:
                is_news = self._roles.learn(subject_id, value=revocation.roles, **known)
            case Kind.USER_FROZEN | Kind.USER_UNFROZEN:
                is_frozen = revocation.kind is Kind.USER_FROZEN
                is_news = self._frozen.learn(subject_id, value=is_frozen, **known)
            case _:
                is_news = self._ended.learn(subject_id, value=True, **known)
        self.version += is_news

    def _forget(self, *, before: float) -> None:
        self._ended.forget(before=before)
        self._frozen.forget(before=before)
        self._roles.forget(before=before)


def _last_definition(batch: Batch) -> int:
    kinds = (one.position for one in batch.revocations if one.kind is Kind.DEFINITIONS_CHANGED)
    return max(kinds, default=-1)
