"""The worker's verification: quiet on a good ledger, loud on an edited one, and incremental."""

from __future__ import annotations

import asyncpg
from prometheus_client import CollectorRegistry

from guilder.kernel.ids import AccountId
from guilder.ledger.domain.verification import Violation
from guilder.ledger.jobs import reporter, verify_recent
from guilder.ledger.service.verify_recent import VerifyRecent
from guilder.ledger.store.checks import CHECKS
from guilder.platform.checks import run_checks
from guilder.platform.db import Database
from tests.support.ledger import Teller, transfer


async def verified(db: Database) -> list[Violation]:
    found: list[Violation] = []
    await VerifyRecent(db, report=found.append).run()
    return found


async def heads(db: Database) -> dict[AccountId, int]:
    rows = await db.fetch("SELECT account_id, sequence FROM ledger.verified_heads")
    return {row[0]: row[1] for row in rows}


async def test_what_is_new_is_verified_and_remembered(db: Database, teller: Teller):
    anna, ben = await teller.open(funds_minor=1_000), await teller.open()
    assert await verified(db) == []
    await teller.post(*(transfer(anna, ben, 10) for _ in range(5)))

    assert await verified(db) == []

    assert ((await heads(db))[anna], (await heads(db))[ben]) == (6, 5)
    done = await run_checks(db, CHECKS)
    assert [finding for checked in done for finding in checked.findings] == []


async def test_an_edited_entry_is_reported_and_its_account_stays_unverified(
    db: Database, teller: Teller, superuser: asyncpg.Connection[asyncpg.Record]
):
    anna, ben = await teller.open(funds_minor=1_000), await teller.open()
    await teller.post(*(transfer(anna, ben, 10) for _ in range(3)))
    await superuser.execute("SET session_replication_role = replica")
    await superuser.execute(
        "UPDATE ledger.entries SET amount_minor = -20 WHERE account_id = $1 AND sequence = 2", ben
    )

    found = await verified(db)

    await superuser.execute(
        "UPDATE ledger.entries SET amount_minor = -10 WHERE account_id = $1 AND sequence = 2", ben
    )
    await superuser.execute("RESET session_replication_role")
    assert Violation(invariant="chain", row=f"{ben}:2") in found
    assert any(violation.invariant == "transaction sum" for violation in found)
    assert ben not in await heads(db)
    assert await verified(db) == []


async def test_an_edited_balance_is_reported(
    db: Database, teller: Teller, superuser: asyncpg.Connection[asyncpg.Record]
):
    anna = await teller.open(funds_minor=1_000)
    assert await verified(db) == []
    query = "UPDATE ledger.accounts SET posted_credits = $2 WHERE id = $1"
    await superuser.execute(query, anna, 9_999)

    found = await verified(db)

    await superuser.execute(query, anna, 1_000)
    assert found == [Violation(invariant="balance", row=str(anna))]


async def test_a_cut_tail_is_reported(
    db: Database, teller: Teller, superuser: asyncpg.Connection[asyncpg.Record]
):
    anna, ben = await teller.open(funds_minor=1_000), await teller.open()
    await teller.post(transfer(anna, ben, 10), transfer(anna, ben, 10))
    assert await verified(db) == []
    transaction = superuser.transaction()
    await transaction.start()
    await superuser.execute(
        "UPDATE ledger.accounts SET sequence = 1, posted_credits = 10 WHERE id = $1", ben
    )
    await transaction.commit()

    found = await verified(db)

    await superuser.execute(
        "UPDATE ledger.accounts SET sequence = 2, posted_credits = 20 WHERE id = $1", ben
    )
    assert found == [Violation(invariant="sequence", row=str(ben))]
    assert await verified(db) == []


async def test_a_violation_is_counted_once(db: Database):
    registry = CollectorRegistry()
    report = reporter(registry)

    for _ in range(3):
        report(Violation(invariant="chain", row="somewhere:1"))

    labels = {"invariant": "chain"}
    assert registry.get_sample_value("ledger_invariant_violations_total", labels) == 1.0


async def test_the_job_runs_it(db: Database, teller: Teller):
    anna = await teller.open(funds_minor=5)

    await verify_recent(VerifyRecent(db, report=lambda _: None)).run()

    assert (await heads(db))[anna] == 1
