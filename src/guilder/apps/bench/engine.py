"""The payment engine alone, in this process: no HTTP, no token, no JSON."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from guilder.apps.bench.figure import Figure
from guilder.apps.bench.ground import Ground
from guilder.apps.bench.town import Town
from guilder.apps.bench.usage import processor_s
from guilder.kernel.currencies import INR
from guilder.kernel.ids import UserId, WalletId
from guilder.kernel.invariant import invariant
from guilder.ledger.module import build_ledger
from guilder.payments.api import PaymentOrder, Payments, PaymentType
from guilder.payments.module import build_engine, simulated_funding
from guilder.platform.db import Database
from guilder.platform.identifiers import new_id
from guilder.wallets.module import in_money_core

COMMANDS_AT_ONCE: Final = 256
_WARM_UP_S: Final = 1.0


@asynccontextmanager
async def own_engine(db: Database) -> AsyncIterator[Payments]:
    """An engine as the application has it."""
    engine = build_engine(
        db=db, ledger=build_ledger(), wallets=in_money_core(), funding=simulated_funding
    )
    try:
        yield engine
    finally:
        await engine.close()


async def transfers(
    payments: Payments,
    *,
    town: Town,
    seconds: float,
    at_most: int | None = None,
    into: WalletId | None = None,
) -> int:
    """Keep 256 transfers going for so long, or until so many are done; answer how many were.

    Between any two wallets, or all into one.
    """
    purses = town.purses
    until = time.monotonic() + seconds
    done = 0

    async def keep_paying() -> None:
        nonlocal done
        while time.monotonic() < until and (at_most is None or done < at_most):
            done += 1
            outcome = await payments.pay(_order(purses, into=into))
            invariant(outcome.refusal is None, f"every transfer goes through: {outcome.refusal}")

    await asyncio.gather(*(keep_paying() for _ in range(COMMANDS_AT_ONCE)))
    return done


async def measure(
    ground: Ground, payments: Payments, *, town: Town, seconds: float, base: float | None
) -> Figure:
    """Transfers a second through the engine, and what a transfer costs each side."""
    await transfers(payments, town=town, seconds=min(_WARM_UP_S, seconds))
    await ground.settle()
    server_before, own_before = processor_s(ground.server.pid), time.process_time()
    began = time.monotonic()
    done = await transfers(payments, town=town, seconds=seconds)
    took_s = time.monotonic() - began
    own_s = time.process_time() - own_before
    server_s = processor_s(ground.server.pid) - server_before
    rate = done / took_s
    return Figure(
        name="engine",
        title="engine alone, 256 commands at once",
        unit="/s",
        value=rate,
        against="pgbench",
        ratio=None if base is None else rate / base,
        target=2.5,
        detail={
            "transfers": done,
            "Guilder µs": round(own_s * 1e6 / done, 1),
            "PostgreSQL µs": round(server_s * 1e6 / done, 1),
        },
    )


def _order(purses: Sequence[tuple[UserId, WalletId]], *, into: WalletId | None) -> PaymentOrder:
    owner_id, source = random.choice(purses)  # noqa: S311 - spread, no secret
    while (target := into or random.choice(purses)[1]) == source:  # noqa: S311 - the same
        owner_id, source = random.choice(purses)  # noqa: S311 - the same
    return PaymentOrder(
        type=PaymentType.TRANSFER,
        caller_id=owner_id,
        key=str(new_id()),
        amount_minor=1,
        currency=INR,
        from_wallet_id=source,
        to_wallet_id=target,
    )
