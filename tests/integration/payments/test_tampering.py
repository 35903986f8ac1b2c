"""`guilder verify` finds nothing where payments were made, and every edit that was made past it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import pytest_asyncio

from guilder.kernel.currencies import CURRENCIES
from guilder.payments.store.checks import CHECKS as PAYMENT_CHECKS
from guilder.wallets.domain import Act
from guilder.wallets.store import CHECKS as WALLET_CHECKS
from tests.support.bank import Bank, deposit, person, topup, transfer, withdrawal
from tests.support.tampering import Connection, edited, edits_of, findings_of, rows_of

EARLIER = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)
TABLES = ("payments.transactions", "payments.idempotency", "wallets.wallets")
FORGERIES = {
    "platform.outbox": """
        INSERT INTO platform.outbox (id, type, key, data)
        SELECT gen_random_uuid(), type, key, data FROM platform.outbox
        WHERE type LIKE '%.transaction.%' LIMIT 1
    """,
    "payments.idempotency": """
        INSERT INTO payments.idempotency
        SELECT owner_id, key || 'x', fingerprint, transaction_id, outcome, created_at
        FROM payments.idempotency LIMIT 1
    """,
    "payments.transactions": """
        INSERT INTO payments.transactions
        SELECT gen_random_uuid(), type, status, owner_id, from_wallet_id, to_wallet_id,
            amount_minor, currency, description, idempotency_key, failure_code, failure_message,
            failure_details, created_at, seal
        FROM payments.transactions LIMIT 1
    """,
    "wallets.wallets": """
        INSERT INTO wallets.wallets
        SELECT gen_random_uuid(), owner_id, currency, label, status, frozen_by_staff, is_default,
            created_at, changed_at, seal
        FROM wallets.wallets LIMIT 1
    """,
}
CHECKS = (*WALLET_CHECKS, *PAYMENT_CHECKS)
"""Those of the two contexts have to be enough; the ledger's would see more."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def history(bank: Bank) -> None:
    """Every kind of payment, in currencies of every exponent, done and refused; every status."""
    anna, ben = person(), person()
    for code in ("INR", "JPY", "BHD"):
        unit = CURRENCIES[code]
        annas = await bank.open(anna, funds_minor=10_050, currency=unit)
        bens = await bank.open(ben, currency=unit)
        for order in (
            topup(anna, annas, amount_minor=7, currency=unit, effective_at=EARLIER),
            transfer(anna, annas, bens, amount_minor=3_005, currency=unit, description="Rént ₹"),
            withdrawal(ben, bens, amount_minor=1_000, currency=unit),
            withdrawal(ben, bens, amount_minor=10**9, currency=unit, description="Too much"),
            transfer(anna, annas, bens, amount_minor=10**9, currency=unit),
        ):
            await bank.engine.pay(order)
    frozen, closed = await bank.open(anna), await bank.open(anna)
    await bank.act(anna, frozen, Act.FREEZE)
    await bank.act(anna, closed, Act.CLOSE)
    seized = person()
    await bank.open(seized)
    await bank.wallets.change_all_of(seized, act=Act.FREEZE)
    await bank.open(ben, is_active=False)
    await bank.engine.pay(deposit(anna, frozen))
    await bank.engine.pay(deposit(anna, closed))


@pytest.mark.usefixtures("history")
async def test_what_was_paid_has_no_findings(bank: Bank):
    assert await bank.verify() == []


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("table", TABLES)
async def test_every_edit_of_every_column_is_found(superuser: Connection, table: str):
    missed, made = [], 0
    rows = await rows_of(superuser, table)
    for column, edit in await edits_of(superuser, table):
        for row in rows:
            async with edited(superuser, table, column=column, edit=edit, row=row) as was_edited:
                if was_edited:
                    made += 1
                    if not await findings_of(superuser, CHECKS):
                        missed.append(f"{column} = {edit} at {row}")

    assert not missed
    assert made >= len(rows)


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("table", [*TABLES, "platform.outbox"])
async def test_a_deleted_row_is_found(superuser: Connection, table: str):
    missed = []
    where = "type LIKE '%.transaction.%'" if table == "platform.outbox" else "true"
    rows = await superuser.fetch(f"SELECT ctid::text FROM {table} WHERE {where}")
    for (row,) in rows:
        transaction = superuser.transaction()
        await transaction.start()
        await superuser.execute("SET LOCAL session_replication_role = replica")
        await superuser.execute(f"DELETE FROM {table} WHERE ctid = '{row}'")
        if not await findings_of(superuser, CHECKS):
            missed.append(row)
        await transaction.rollback()

    assert not missed
    assert rows


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    "edit",
    [
        "type = 'com.guilder.transaction.failed'",
        "type = 'com.guilder.account.created'",
        "key = gen_random_uuid()::text",
        "data = jsonb_set(data, '{amount}', '\"1.00\"')",
        "data = jsonb_set(data, '{currency}', '\"USD\"')",
        "data = jsonb_set(data, '{initiated_by}', to_jsonb(gen_random_uuid()))",
        "data = jsonb_set(data, '{completed_at}', '\"2026-01-01T00:00:00Z\"')",
        "data = data || '{\"note\": 1}'",
        "data = data - 'to_wallet_id'",
    ],
)
async def test_an_event_that_tells_of_a_payment_wrongly_is_found(superuser: Connection, edit: str):
    transaction = superuser.transaction()
    await transaction.start()
    await superuser.execute(
        f"UPDATE platform.outbox SET {edit} WHERE position = "
        "(SELECT max(position) FROM platform.outbox "
        "WHERE type = 'com.guilder.transaction.completed')"
    )

    found = await findings_of(superuser, CHECKS)
    await transaction.rollback()

    assert {finding.table for finding in found} == {"platform.outbox"}


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("table", FORGERIES)
async def test_a_row_that_was_made_up_is_found(superuser: Connection, table: str):
    transaction = superuser.transaction()
    await transaction.start()
    await superuser.execute(FORGERIES[table])

    found = await findings_of(superuser, CHECKS)
    await transaction.rollback()

    assert table in {finding.table for finding in found}


@pytest.mark.usefixtures("history")
async def test_the_history_holds_refusals_of_several_kinds(superuser: Connection):
    codes = await superuser.fetch(
        "SELECT DISTINCT failure_code FROM payments.transactions WHERE failure_code IS NOT NULL"
    )

    assert {row[0] for row in codes} == {
        "INSUFFICIENT_FUNDS",
        "ACCOUNT_FROZEN",
        "ACCOUNT_CLOSED",
    }
