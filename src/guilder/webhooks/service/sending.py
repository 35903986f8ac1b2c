"""Sends what is due. A slow or dead receiver costs the others nothing.

A delivery is taken in one transaction, sent in none, and settled in another, so a worker may die
or freeze anywhere: the lease runs out, another sends it again under the same id, and the fence
keeps a late answer from being written down. Receivers that have been slow, or have not yet shown
that they are not, share places of their own, and a request that turns out to be slow moves there.
No endpoint has more than a few requests under way, and no owner's endpoints more than a part.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from time import monotonic
from typing import Final
from urllib.parse import urlsplit

import structlog

from guilder.kernel.ids import UserId
from guilder.platform import failpoints, outbox
from guilder.platform.db import Database, Tx
from guilder.platform.envelopes import OuterKeys, Unreadable
from guilder.platform.outward import CallFailed, OutwardHttp, Reply
from guilder.webhooks.api import DeliveryState, DisabledReason, EndpointId, EndpointStatus
from guilder.webhooks.domain.schedule import (
    MOST_JITTER,
    WAITS_S,
    Outcome,
    Verdict,
    is_hopeless,
    judge,
)
from guilder.webhooks.events import EndpointDisabled
from guilder.webhooks.service import signatures
from guilder.webhooks.service.figures import Figures
from guilder.webhooks.service.messages import CONTENT_TYPE
from guilder.webhooks.store import endpoints, routing, sending
from guilder.webhooks.store.endpoints import Health
from guilder.webhooks.store.sending import Attempt, Room, Taken

BEFORE_SEND: Final = failpoints.declare(
    "webhook.before_send", "a delivery is taken and committed, nothing is sent yet"
)
AFTER_SEND: Final = failpoints.declare(
    "webhook.after_send", "a receiver has answered, nothing of it is written down"
)
USER_AGENT: Final = "Guilder-Webhooks/1"
_LOOK_EVERY_S: Final = 0.5
_DRAIN_S: Final = 5.0
_MOST_BODY_BYTES: Final = 64 * 1024
_MOST_HEADERS: Final = 64
_MOST_HEADER_CHARACTERS: Final = 8 * 1024
_STATE_AFTER: Final = {
    Outcome.DELIVERED: DeliveryState.DELIVERED,
    Outcome.RETRY: DeliveryState.PENDING,
    Outcome.GIVEN_UP: DeliveryState.FAILED,
    Outcome.GONE: DeliveryState.FAILED,
}

_log = structlog.get_logger("guilder.webhooks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How deliveries are sent. ``waits_s`` are those between attempts, before jitter."""

    waits_s: tuple[float, ...] = WAITS_S
    patience: timedelta = timedelta(days=5)
    """How long an endpoint may do nothing but fail before it is disabled."""
    at_once: int = 4
    """How many requests one endpoint may have under way, in all processes together."""
    most: int = 256
    """How many requests this process may have under way to endpoints that answer quickly."""
    most_of_one: int = 32
    """How many requests this process may have under way to the endpoints of one owner."""
    most_slow: int = 128
    """The same for those that are new or were slow the last time, each with one at a time."""
    few_of_one: int = 2
    """The same for one owner, where half of the places of the new and slow are taken."""
    slow_ms: int = 2_000
    """A request that lasts longer leaves its place to the quick, and its endpoint was slow."""

    @property
    def waits_ms(self) -> tuple[int, ...]:
        """The waits in whole milliseconds."""
        return tuple(round(wait * 1000) for wait in self.waits_s)


class Sending:
    """Takes due deliveries, sends them, and writes down what came back."""

    def __init__(
        self,
        db: Database,
        *,
        keys: OuterKeys,
        http: OutwardHttp,
        plan: Plan,
        figures: Figures,
        jitter: Callable[[], int] = lambda: random.randint(0, MOST_JITTER),  # noqa: S311 - jitter, not a secret
    ) -> None:
        self._db = db
        self._keys = keys
        self._http = http
        self._plan = plan
        self._figures = figures
        self._jitter = jitter
        # as long again as a request can take, to write down what came of it
        self._lease_s = 2 * http.total_s + 1
        self._lanes = {False: _Lane("quick", figures), True: _Lane("slow", figures)}
        self._of_owner: Counter[UserId] = Counter()

    async def run(self) -> None:
        """Send until cancelled; then what is under way is given a few seconds to end."""
        async with self._db.listen(routing.CHANNEL) as woken:
            try:
                while True:
                    woken.clear()
                    if not await self.send_due(then=woken.set):
                        # not wait_for, which forgets its cancellation when it is woken just then
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(_LOOK_EVERY_S):
                                await woken.wait()
            finally:
                await self._drain()

    async def send_due(self, *, then: Callable[[], object] = lambda: None) -> int:
        """Begin to send what is due, as far as there are places, and answer how many that are.

        ``then`` is called whenever one has ended.
        """
        plan, half = self._plan, self._plan.most_slow // 2
        begun = await self._fill(slow=False, to=plan.most, most_of_one=plan.most_of_one, then=then)
        begun += await self._fill(slow=True, to=half, most_of_one=plan.most_of_one, then=then)
        if len(self._lanes[True].tasks) >= half:
            # whose receivers hang are not to keep those out who have hardly begun
            begun += await self._fill(
                slow=True, to=plan.most_slow, most_of_one=plan.few_of_one, then=then
            )
        return begun

    async def measure(self) -> None:
        """Put into figures how far the workers are behind."""
        self._figures.overdue.set(await self._db.run(endpoints.overdue_s))

    async def settled(self) -> None:
        """Wait until nothing is under way."""
        while tasks := self._under_way():
            await asyncio.wait(tasks)

    async def _fill(
        self, *, slow: bool, to: int, most_of_one: int, then: Callable[[], object]
    ) -> int:
        """Begin what is due until so many are under way in a lane; answer how many that are."""
        free = to - len(self._lanes[slow].tasks)
        if free <= 0:
            return 0
        room = Room(
            most=free,
            at_once=1 if slow else self._plan.at_once,
            most_of_one=most_of_one,
            under_way=self._of_owner,
        )
        until = monotonic() + self._lease_s
        taken = await self._db.run(lambda tx: self._take(tx, room, slow=slow))
        for delivery in taken:
            task = asyncio.create_task(self._send(delivery, until=until))
            self._lanes[slow].enter(task)
            self._of_owner[delivery.owner_id] += 1
            task.add_done_callback(partial(self._leave, delivery.owner_id))
            task.add_done_callback(lambda _: then())
            if not slow:
                asyncio.get_running_loop().call_later(
                    max(0, self._plan.slow_ms) / 1000, self._turn_slow, task, then
                )
        return len(taken)

    def _under_way(self) -> set[asyncio.Task[None]]:
        return self._lanes[False].tasks | self._lanes[True].tasks

    def _turn_slow(self, task: asyncio.Task[None], then: Callable[[], object]) -> None:
        if not task.done():
            self._lanes[False].leave(task)
            self._lanes[True].enter(task)
            then()

    def _leave(self, owner_id: UserId, task: asyncio.Task[None]) -> None:
        for lane in self._lanes.values():
            lane.leave(task)
        self._of_owner[owner_id] -= 1
        if not self._of_owner[owner_id]:
            del self._of_owner[owner_id]

    async def _take(self, tx: Tx, room: Room, *, slow: bool) -> list[Taken]:
        taken, locked = await sending.take(tx, slow=slow, room=room, lease_s=self._lease_s)
        if locked:
            await routing.schedule(tx, locked, at_once=self._plan.at_once)
        return taken

    async def _send(self, taken: Taken, *, until: float) -> None:
        try:
            await failpoints.reach(BEFORE_SEND)
            if monotonic() > until - self._http.total_s:
                return  # frozen for so long that it may be somebody else's by now
            attempt, reply = await self._attempt(taken)
            await failpoints.reach(AFTER_SEND)
            await self._settle(taken, attempt, reply)
        except Exception:  # noqa: BLE001 - the lease runs out, and it is sent again
            _log.exception("webhooks.sending_failed", delivery_id=str(taken.id))

    async def _attempt(self, taken: Taken) -> tuple[Attempt, Reply | None]:
        began, clock = datetime.now(UTC), monotonic()
        reply, failure = None, None
        try:
            reply = await self._http.post(
                taken.url, headers=self._headers(taken, at=began), body=taken.body.encode()
            )
        except CallFailed as error:
            failure = error.reason
        except Unreadable:
            failure = "secret_unreadable"
        took_s = monotonic() - clock
        self._figures.durations.observe(took_s)
        if taken.attempts == 0:
            waited = began - taken.occurred_at
            self._figures.delays.observe(max(0.0, waited.total_seconds()))
        body, is_cut = _text(reply)
        return (
            Attempt(
                started_at=began,
                duration_ms=round(took_s * 1000),
                status=None if reply is None else reply.status,
                failure=failure,
                headers=() if reply is None else _kept(reply.headers),
                body=body,
                is_cut=is_cut,
            ),
            reply,
        )

    def _headers(self, taken: Taken, *, at: datetime) -> dict[str, str]:
        place = signatures.place(taken.endpoint_id)
        sealed = [taken.secret, *([taken.previous_secret] if taken.previous_secret else [])]
        secrets = [self._keys.unwrap(secret, at=place) for secret in sealed]
        signed = signatures.signed(
            taken.body.encode(), delivery_id=taken.id, at=at, secrets=secrets
        )
        return {"content-type": CONTENT_TYPE, "user-agent": USER_AGENT, **signed}

    async def _settle(self, taken: Taken, attempt: Attempt, reply: Reply | None) -> None:
        verdict = judge(
            attempt.status,
            failures=taken.failures,
            waits_ms=self._plan.waits_ms,
            retry_after_s=_retry_after(reply, now=datetime.now(UTC)),
            jitter=self._jitter(),
        )
        written = await self._db.run(lambda tx: self._write(tx, taken, attempt, verdict))
        if written is None:
            self._figures.fenced.inc()
            return
        self._figures.attempts.labels(written.value).inc()

    async def _write(
        self, tx: Tx, taken: Taken, attempt: Attempt, verdict: Verdict
    ) -> Outcome | None:
        """Write down what an attempt came to, and answer that; None where the lease was lost."""
        # whose URL was changed meanwhile has a server that nothing was asked of yet
        is_asked = await sending.lock_endpoint(tx, taken.endpoint_id) == taken.url
        failures = taken.failures + 1
        if not is_asked and verdict.outcome is not Outcome.DELIVERED:
            verdict, failures = Verdict(Outcome.RETRY), 0
        settled = await sending.settle(
            tx,
            taken,
            state=_STATE_AFTER[verdict.outcome],
            wait_ms=verdict.wait_ms,
            failures=failures,
            attempt=attempt,
        )
        if not settled:
            return None
        if is_asked:
            await self._note_health(tx, taken, attempt, verdict)
        await routing.schedule(tx, [taken.endpoint_id], at_once=self._plan.at_once)
        return verdict.outcome

    async def _note_health(self, tx: Tx, taken: Taken, attempt: Attempt, verdict: Verdict) -> None:
        now = await endpoints.database_time(tx)
        health = await endpoints.note_health(
            tx,
            taken.endpoint_id,
            is_well=verdict.outcome is Outcome.DELIVERED,
            is_slow=attempt.duration_ms > self._plan.slow_ms,
            now=now,
        )
        if health is not None and health.status is EndpointStatus.ENABLED:
            await self._judge_endpoint(tx, taken.endpoint_id, health, verdict=verdict, now=now)

    async def _judge_endpoint(
        self, tx: Tx, endpoint_id: EndpointId, health: Health, *, verdict: Verdict, now: datetime
    ) -> None:
        since = health.failing_since
        if verdict.outcome is Outcome.GONE:
            reason = DisabledReason.GONE
        elif since is not None and is_hopeless(since, now=now, patience=self._plan.patience):
            reason = DisabledReason.FAILING
        else:
            return
        await endpoints.disable(tx, endpoint_id, reason=reason, now=now)
        fact = EndpointDisabled(
            endpoint_id=endpoint_id,
            owner_id=health.owner_id,
            host=urlsplit(health.url).hostname or "",
            reason=reason.value,
            disabled_at=now,
        )
        await outbox.append(tx, [outbox.outgoing(fact, key=str(endpoint_id))])
        self._figures.disabled.labels(reason.value).inc()

    async def _drain(self) -> None:
        tasks = self._under_way()
        if tasks:
            await asyncio.wait(tasks, timeout=_DRAIN_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Lane:
    """Requests that share places, and the figure that tells how many they are."""

    def __init__(self, name: str, figures: Figures) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self._figure = figures.under_way.labels(name)

    def enter(self, task: asyncio.Task[None]) -> None:
        self.tasks.add(task)
        self._figure.set(len(self.tasks))

    def leave(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        self._figure.set(len(self.tasks))


def _kept(headers: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    kept, room = [], _MOST_HEADER_CHARACTERS
    for name, text in headers[:_MOST_HEADERS]:
        room -= len(name) + len(text)
        if room < 0:
            break
        kept.append((name, text))
    return tuple(kept)


def _text(reply: Reply | None) -> tuple[str, bool]:
    """A body as it is kept, and whether it was cut: what is no text takes more room as one."""
    if reply is None:
        return "", False
    # no text of the database holds NUL
    text = reply.body.decode("utf-8", errors="replace").replace("\x00", "\ufffd")
    kept = text.encode()[:_MOST_BODY_BYTES].decode("utf-8", errors="ignore")
    return kept, reply.is_cut or len(kept) < len(text)


def _retry_after(reply: Reply | None, *, now: datetime) -> int | None:
    """What a Retry-After header asks for, in seconds; None where there is none to be read."""
    text = dict(reply.headers).get("retry-after", "") if reply else ""
    if text.isascii() and text.isdigit():
        return int(text[:9])
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0, round((moment - now).total_seconds()))
    except Exception:  # noqa: BLE001 - a stranger wrote it, and the attempt is written down anyhow
        return None
