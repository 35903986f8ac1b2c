"""Many at once, on one database: whoever is first, nothing is spent, posted or reversed twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio

from guilder.kernel.currencies import INR
from guilder.kernel.errors import Refusal
from guilder.kernel.ids import AccountId, ControlId, TransactionId, UserId
from guilder.ledger.api import (
    AmountExceedsOriginal,
    ControlLimits,
    Direction,
    InsufficientFunds,
    LimitExceeded,
    NewControl,
    ReversalDraft,
    TransactionDraft,
    TransactionExists,
)
from guilder.ledger.service.end_holds import EndHolds
from guilder.ledger.service.post_transactions import Posted, PostTransactions
from guilder.ledger.service.reverse_transaction import ReverseTransaction
from guilder.ledger.store.checks import CHECKS
from guilder.platform.checks import run_checks
from guilder.platform.db import Database, Tx
from guilder.platform.identifiers import new_id
from tests.support.database import OwnDatabase
from tests.support.ledger import Teller, transfer
from tests.support.waiting import until


@pytest_asyncio.fixture
async def other_db(database: OwnDatabase) -> AsyncIterator[Database]:
    """A second pool, as another server process would have."""
    pool = await database.connect(max_connections=10)
    yield pool
    await pool.close()


@pytest_asyncio.fixture(autouse=True)
async def verified(db: Database) -> AsyncIterator[None]:
    """After every race everything still adds up."""
    yield
    done = await run_checks(db, CHECKS)
    assert [finding for checked in done for finding in checked.findings] == []


async def outcome(posting: PostTransactions, *drafts: TransactionDraft) -> Posted | Refusal:
    try:
        return (await posting.post(drafts))[0]
    except Refusal as refusal:
        return refusal


def at_random(db: Database, other: Database, teller: Teller) -> list[PostTransactions]:
    return [PostTransactions(each, ledger=teller.ledger) for each in (db, other)]


async def test_money_is_spent_once_though_fifty_try(
    db: Database, other_db: Database, teller: Teller
):
    anna, ben = await teller.open(funds_minor=1_000), await teller.open()
    processes = at_random(db, other_db, teller)

    done = await asyncio.gather(
        *(outcome(processes[n % 2], transfer(anna, ben, 300)) for n in range(50))
    )

    assert sum(isinstance(each, Posted) for each in done) == 3
    assert sum(isinstance(each, InsufficientFunds) for each in done) == 47
    assert await teller.balances([anna, ben]) == [100, 900]


async def test_one_id_is_posted_once_though_a_hundred_send_it(
    db: Database, other_db: Database, teller: Teller
):
    anna, ben = await teller.open(funds_minor=1_000), await teller.open()
    asked = transfer(anna, ben, 5)
    processes = at_random(db, other_db, teller)

    done = await asyncio.gather(*(outcome(processes[n % 2], asked) for n in range(100)))

    assert sum(isinstance(each, Posted) and not each.is_replay for each in done) == 1
    assert sum(isinstance(each, Posted) and each.is_replay for each in done) == 99
    assert await teller.balances([anna, ben]) == [995, 5]


async def test_one_id_for_different_accounts_is_posted_once(
    db: Database, other_db: Database, teller: Teller
):
    pairs = [(await teller.open(funds_minor=100), await teller.open()) for _ in range(8)]
    id_ = TransactionId(new_id())
    processes = at_random(db, other_db, teller)

    done = await asyncio.gather(
        *(outcome(processes[n % 2], transfer(a, b, 5, id=id_)) for n, (a, b) in enumerate(pairs))
    )

    assert sum(isinstance(each, Posted) for each in done) == 1
    assert sum(isinstance(each, TransactionExists) for each in done) == 7
    assert sum(await teller.balances([b for _, b in pairs])) == 5


async def test_an_id_that_somebody_is_just_using_is_waited_for_and_refused(
    db: Database, other_db: Database, teller: Teller
):
    """Different accounts: nothing but the id brings the two together."""
    (anna, ben), (carol, dan) = [
        (await teller.open(funds_minor=100), await teller.open()) for _ in range(2)
    ]
    first = transfer(anna, ben, 5)

    async with other_db.transaction() as tx:
        book = await teller.ledger.open_book(tx, [anna, ben])
        assert book.post(first) is None
        await teller.ledger.write(tx, book)
        second = PostTransactions(db, ledger=teller.ledger)
        posting = asyncio.create_task(outcome(second, transfer(carol, dan, 7, id=first.id)))
        await until(lambda: _somebody_waits(db), "the second waits for what becomes of the first")

    assert isinstance(await posting, TransactionExists)
    assert await teller.balances([ben, dan]) == [5, 0]


async def test_partial_reversals_never_pass_the_original(
    db: Database, other_db: Database, teller: Teller
):
    anna, ben = await teller.open(funds_minor=1_000), await teller.open(funds_minor=1_000)
    paid = transfer(anna, ben, 1_000)
    assert await teller.post(paid) is None
    reversing = [ReverseTransaction(each, ledger=teller.ledger) for each in (db, other_db)]

    async def reverse(n: int) -> Posted | Refusal:
        draft = ReversalDraft(
            id=TransactionId(new_id()), original_id=paid.id, amount_minor=70 if n % 2 else None
        )
        try:
            return await reversing[n % 2].reverse(draft)
        except Refusal as refusal:
            return refusal

    parts = await asyncio.gather(*(reverse(2 * n + 1) for n in range(20)))
    rest = await asyncio.gather(*(reverse(2 * n) for n in range(5)))

    assert sum(isinstance(each, Posted) for each in parts) == 14
    assert sum(isinstance(each, Posted) for each in rest) == 1
    assert all(isinstance(each, Posted | AmountExceedsOriginal) for each in [*parts, *rest])
    assert await teller.balances([anna, ben]) == [1_000, 1_000]


async def test_a_hold_that_is_posted_while_its_reversal_waits_is_reversed(
    db: Database, other_db: Database, teller: Teller
):
    anna, ben, carol = [await teller.open(funds_minor=1_000) for _ in range(3)]
    held = transfer(anna, ben, 100, expires_at=await teller.now() + timedelta(hours=1))
    assert await teller.post(held) is None

    async with other_db.transaction() as tx:
        await teller.ledger.lock_account(tx, carol)
        reversing = asyncio.create_task(_reverse_beside(teller, carol, held.id))
        await until(lambda: _somebody_waits(db), "the reversal waits for Carol's account")
        assert await teller.settle(held.id) is None

    assert await reversing is None
    assert await teller.balances([anna, ben]) == [1_000, 1_000]


async def test_a_transaction_that_is_posted_while_its_reversal_waits_is_reversed(
    db: Database, other_db: Database, teller: Teller
):
    anna, ben, carol = [await teller.open(funds_minor=1_000) for _ in range(3)]
    paid = transfer(anna, ben, 100)

    async with other_db.transaction() as tx:
        await teller.ledger.lock_account(tx, carol)
        reversing = asyncio.create_task(_reverse_beside(teller, carol, paid.id))
        await until(lambda: _somebody_waits(db), "the reversal waits for Carol's account")
        assert await teller.post(paid) is None

    assert await reversing is None
    assert await teller.balances([anna, ben]) == [1_000, 1_000]


async def _reverse_beside(
    teller: Teller, waited_for: AccountId, original_id: TransactionId
) -> Refusal | None:
    """Reverse a transaction in a book that holds another account too."""

    async def work(tx: Tx) -> Refusal | None:
        book = await teller.ledger.open_book(tx, [waited_for], originals=[original_id])
        draft = ReversalDraft(id=TransactionId(new_id()), original_id=original_id)
        refusal = book.reverse(draft)
        await teller.ledger.write(tx, book)
        return refusal

    return await teller.db.run(work)


async def test_two_directions_at_once_do_not_deadlock(
    db: Database, other_db: Database, teller: Teller
):
    accounts = [await teller.open(funds_minor=10_000) for _ in range(4)]
    processes = at_random(db, other_db, teller)
    choose = random.Random(3)

    async def storm(n: int) -> list[Posted | Refusal]:
        done = []
        for _ in range(10):
            a, b, c = choose.sample(accounts, 3)
            done.append(await outcome(processes[n % 2], transfer(a, b, 7), transfer(b, c, 7)))
        return done

    done = await asyncio.gather(*(storm(n) for n in range(12)))

    assert all(isinstance(each, Posted) for some in done for each in some)
    assert sum(await teller.balances(accounts)) == 40_000


async def test_a_limit_holds_though_many_pay_from_two_accounts(
    db: Database, other_db: Database, teller: Teller
):
    anna_id = UserId(new_id())
    ours = [await teller.open(anna_id, funds_minor=10_000) for _ in range(2)]
    ben = await teller.open()
    control = limit_on(anna_id, per_day_minor=1_000)
    await db.run(lambda tx: teller.ledger.set_control(tx, control))
    processes = at_random(db, other_db, teller)

    done = await asyncio.gather(
        *(outcome(processes[n % 2], transfer(ours[n // 2 % 2], ben, 90)) for n in range(40))
    )

    assert sum(isinstance(each, Posted) for each in done) == 11
    assert sum(isinstance(each, LimitExceeded) for each in done) == 29


async def test_a_limit_set_while_money_moves_counts_from_then_on(
    db: Database, other_db: Database, teller: Teller
):
    anna_id = UserId(new_id())
    anna, ben = await teller.open(anna_id, funds_minor=100_000), await teller.open()
    processes = at_random(db, other_db, teller)
    control = limit_on(anna_id, per_day_minor=2_000)

    async def pay(n: int) -> int:
        done = [await outcome(processes[n % 2], transfer(anna, ben, 100)) for _ in range(10)]
        return sum(isinstance(each, Posted) for each in done)

    async def late_account() -> Posted | Refusal:
        account = await teller.open(anna_id, funds_minor=5_000)
        return await outcome(processes[0], transfer(account, ben, 1))

    *_, late = await asyncio.gather(
        *(pay(n) for n in range(4)),
        db.run(lambda tx: teller.ledger.set_control(tx, control)),
        *(pay(n) for n in range(4)),
        late_account(),
    )

    # The verification after each race counts again what of the limit is used.
    used = await db.fetchval("SELECT day_used_minor FROM ledger.controls WHERE id = $1", control.id)
    assert isinstance(late, Posted) or (isinstance(late, LimitExceeded) and used == 2_000)


async def test_a_limit_counts_again_when_its_kinds_or_its_time_zone_change(
    db: Database, teller: Teller
):
    anna_id = UserId(new_id())
    anna, ben = await teller.open(anna_id, funds_minor=100_000), await teller.open()
    first = limit_on(anna_id, per_day_minor=50_000)
    await db.run(lambda tx: teller.ledger.set_control(tx, first))
    for kind, amount in (("transfer", 300), ("gift", 40)):
        assert await teller.post(transfer(anna, ben, amount, kind=kind)) is None
    gifts = limit_on(anna_id, id_=first.id, per_day_minor=50, kinds=frozenset({"gift"}))

    await db.run(lambda tx: teller.ledger.set_control(tx, gifts))

    assert await teller.post(transfer(anna, ben, 300)) is None
    assert isinstance(await teller.post(transfer(anna, ben, 11, kind="gift")), LimitExceeded)
    assert await teller.post(transfer(anna, ben, 10, kind="gift")) is None


async def test_due_holds_expire_once_though_several_processes_look(
    db: Database, other_db: Database, teller: Teller
):
    anna, ben = await teller.open(funds_minor=10_000), await teller.open()
    soon = await teller.now() + timedelta(milliseconds=400)
    holds = [transfer(anna, ben, 10, expires_at=soon) for _ in range(30)]
    kept = transfer(anna, ben, 10, expires_at=soon + timedelta(hours=1))
    assert await teller.post(*holds, kept) is None
    await db.fetchval("SELECT pg_sleep_until($1)", soon)

    await asyncio.gather(
        *(EndHolds(each, ledger=teller.ledger).expire_due() for each in (db, other_db) * 3)
    )

    states = await db.fetch(
        "SELECT h.state, count(*) FROM ledger.holds h WHERE transaction_id = ANY($1::uuid[]) "
        "GROUP BY state ORDER BY state",
        [each.id for each in (*holds, kept)],
    )
    assert [tuple(row) for row in states] == [("expired", 30), ("pending", 1)]
    assert (await teller.read(anna)).available_minor == 9_990


@pytest.mark.parametrize("is_atomic", [True, False])
async def test_ten_thousand_are_posted_at_once(db: Database, teller: Teller, is_atomic: bool):
    accounts = [await teller.open(floor_minor=None) for _ in range(10)]
    choose = random.Random(11)
    drafts = [transfer(*choose.sample(accounts, 2), 5) for _ in range(10_000)]
    posting = PostTransactions(db, ledger=teller.ledger)
    groups = [drafts] if is_atomic else [[draft] for draft in drafts]

    first = await posting.post_groups(groups)
    again = await posting.post_groups(groups)

    assert sum(isinstance(each, Posted) for group in first for each in group) == 10_000
    assert all(isinstance(each, Posted) and each.is_replay for group in again for each in group)
    assert sum(await teller.balances(accounts)) == 0


async def test_what_waited_for_a_control_is_recorded_after_the_wait(
    db: Database, other_db: Database, teller: Teller
):
    anna, ben = await teller.open(funds_minor=500), await teller.open()
    limit = limit_on(UserId(anna), per_day_minor=100)
    await db.run(lambda tx: teller.ledger.create_control(tx, limit))

    async with other_db.transaction() as tx:
        await tx.execute("SELECT FROM ledger.controls FOR NO KEY UPDATE")
        posting = asyncio.create_task(teller.post(transfer(anna, ben, 10)))
        await until(lambda: _somebody_waits(db), "the posting waits for the control")
        waited_until = await teller.now()

    assert await posting is None
    assert await db.fetchval("SELECT max(recorded_at) FROM ledger.entries") > waited_until


async def _somebody_waits(db: Database) -> bool:
    return bool(await db.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"))


def limit_on(
    subject_id: UserId,
    *,
    per_day_minor: int,
    id_: ControlId | None = None,
    kinds: frozenset[str] | None = None,
) -> NewControl:
    """A limit per day on what leaves the accounts of an owner."""
    return NewControl(
        id=id_ or ControlId(new_id()),
        subject_id=subject_id,
        currency=INR,
        direction=Direction.OUTFLOW,
        limits=ControlLimits(per_day_minor=per_day_minor),
        time_zone="Asia/Kolkata",
        kinds=kinds,
    )
