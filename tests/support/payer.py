"""A process that pays: it reads orders, waits for the gate to open, and sends them all at once.

``python -m tests.support.payer URL`` reads a JSON list of orders on its input, says ``ready``,
passes the advisory lock `GATE`, and prints an outcome for each order, in their order. Failpoints
are set by GUILDER_FAILPOINTS.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import uvloop

from guilder.kernel.currencies import currency
from guilder.kernel.errors import Refusal
from guilder.payments.api import PaymentOrder
from guilder.platform import failpoints
from guilder.platform.db import Database, Limits
from tests.support.bank import Bank, opened

GATE = 715
FROZEN_WITHIN_MS = 1_000
IDLE_IN_TRANSACTION_MS = 4_000
"""How long the server waits for one of these processes that does nothing in a transaction."""
ROOT = Path(__file__).resolve().parents[2]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """An outcome as it is told to another process."""

    payment_id: UUID | None
    refusal: str | None
    is_replay: bool


async def pay_all(bank: Bank, orders: Sequence[PaymentOrder]) -> list[Told]:
    """Send all orders at once; what stays unanswered is sent again under its key."""
    return await asyncio.gather(*(_pay(bank, order) for order in orders))


async def _pay(bank: Bank, order: PaymentOrder) -> Told:
    try:
        outcome = await bank.engine.pay(order)
    except Refusal as refusal:
        return Told(payment_id=None, refusal=refusal.code, is_replay=False)
    return Told(
        payment_id=outcome.payment.id if outcome.payment else None,
        refusal=outcome.refusal.code if outcome.refusal else None,
        is_replay=outcome.is_replay,
    )


async def in_processes(url: str, *shares: Sequence[PaymentOrder]) -> list[list[Told]]:
    """Pay each share in a process of its own, all of them at the same moment."""
    async with _closed_gate(url) as gate:
        processes = [await _started(url, share) for share in shares]
        for process in processes:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        await gate.execute("SELECT pg_advisory_unlock($1)", GATE)
        told = [(await process.communicate())[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(shares)
    return [msgspec.json.decode(lines, type=list[Told]) for lines in told]


async def _started(url: str, orders: Sequence[PaymentOrder], **options: Any) -> Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        url,
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        **options,
    )
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(orders) + b"\n")
    return process


@dataclass(frozen=True, slots=True)
class Frozen:
    """A process that was stopped in the middle of a payment."""

    process: Process

    async def wake(self) -> Told:
        """Let it go on to its end; what it was told then."""
        self.process.send_signal(signal.SIGCONT)
        lines, complaints = await self.process.communicate()
        assert self.process.returncode == 0, complaints.decode()
        (told,) = msgspec.json.decode(lines.removeprefix(b"ready\n"), type=list[Told])
        return told


@asynccontextmanager
async def frozen_at(point: str, *, url: str, order: PaymentOrder) -> AsyncIterator[Frozen]:
    """A process that pays, and is stopped (SIGSTOP) at a failpoint of it until it is woken."""
    env = os.environ | {"GUILDER_FAILPOINTS": f"{point}=hit:1:sleep:{FROZEN_WITHIN_MS}"}
    process = await _started(url, [order], env=env, stderr=asyncio.subprocess.PIPE)
    try:
        assert process.stderr is not None
        while f"failpoint {point}".encode() not in (said := await process.stderr.readline()):
            assert said, "it ended and was not at the point"
        process.send_signal(signal.SIGSTOP)
        yield Frozen(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@asynccontextmanager
async def _closed_gate(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", GATE)
        yield connection
    finally:
        await connection.close()


async def _main(url: str) -> None:
    sent = msgspec.json.decode(sys.stdin.readline(), type=list[PaymentOrder])
    # one object for each currency, as in a server
    orders = [
        msgspec.structs.replace(order, currency=currency(order.currency.code)) for order in sent
    ]
    failpoints.arm(os.environ.get("GUILDER_FAILPOINTS", ""))
    limits = Limits(idle_in_transaction_ms=IDLE_IN_TRANSACTION_MS)
    db = await Database.connect(url, max_connections=4, limits=limits)
    async with opened(db) as bank:
        await db.fetchval("SELECT 1")
        print("ready", flush=True)
        async with db.transaction() as tx:  # for as long as the slowest takes to be ready
            await tx.execute("SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0")
            await tx.execute("SELECT pg_advisory_xact_lock_shared($1)", GATE, timeout=600)
        print(msgspec.json.encode(await pay_all(bank, orders)).decode(), flush=True)
    await db.close()


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1]))
