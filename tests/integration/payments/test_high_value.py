"""Transfers above the limit, on a real database: verified first, moved once with each token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx2
import pytest
import pytest_asyncio

from guilder.identity import module as identity
from guilder.kernel.currencies import CURRENCIES
from guilder.kernel.ids import UserId, WalletId
from guilder.payments.api import PaymentOrder
from guilder.payments.domain import high_value
from guilder.payments.service.engine import HighValue
from guilder.payments.store.checks import CHECKS
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys
from guilder.platform.keys import KeyFolder
from tests.support.bank import Bank, deposit, opened
from tests.support.branch import served
from tests.support.database import OwnDatabase
from tests.support.portal import Resident, settle
from tests.support.tampering import findings_of
from tests.support.town import Town, data, error, founded

Superuser = asyncpg.Connection

JPY = CURRENCIES["JPY"]
STATUS = "SELECT status, used_by FROM identity.verifications WHERE id = $1"
HIGH = HighValue(most_minor=high_value(), tokens=identity.build_verification_tokens())


@dataclass(frozen=True, slots=True, kw_only=True)
class Payer:
    """Anna with wallets at two banks on one database, each as a server process has it."""

    anna: Resident
    banks: tuple[Bank, Bank]
    counters: tuple[httpx2.AsyncClient, httpx2.AsyncClient]
    source: WalletId
    to: WalletId

    async def transfer(
        self, amount: str = "60000.00", *, key: str | None = None, at: int = 0, **more: Any
    ) -> httpx2.Response:
        body = {
            "from_wallet_id": str(self.source),
            "to_wallet_id": str(self.to),
            "amount": amount,
            "currency": "INR",
            **more,
        }
        headers = {} if key is None else {"Idempotency-Key": key}
        return await self.counters[at].post(
            "/api/v1/transactions/transfer", json=body, headers=headers
        )

    async def verified(self, amount: str = "60000.00", **more: Any) -> str:
        """A token for this transfer."""
        needed = data(await self.transfer(amount, **more), 202)
        return await self.anna.confirm(needed["verification_id"])

    async def balance(self) -> int:
        (found,) = await self.banks[0].balances((self.anna.id, self.source))
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def town(db: Database, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    keys = KeyFolder(tmp_path_factory.mktemp("identity") / "keys")
    keys.ensure()
    async with founded(db, keys) as town:
        yield town


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def banks(database: OwnDatabase) -> AsyncIterator[tuple[Bank, Bank]]:
    async with AsyncExitStack() as stack:
        pools = [await database.connect(max_connections=4) for _ in range(2)]
        for pool in pools:
            stack.push_async_callback(pool.close)
        first, second = [
            await stack.enter_async_context(opened(pool, high_value=HIGH)) for pool in pools
        ]
        yield first, second


@pytest_asyncio.fixture
async def payer(db: Database, town: Town, banks: tuple[Bank, Bank]) -> AsyncIterator[Payer]:
    anna, ben = await settle(town, "Anna"), await settle(town, "Ben")
    verifications = identity.build_verifications(db=db, contacts=OuterKeys(town.keys.folder))
    async with AsyncExitStack() as stack:
        first, second = [
            await stack.enter_async_context(served(bank, anna.id, verifications=verifications))
            for bank in banks
        ]
        yield Payer(
            anna=anna,
            banks=banks,
            counters=(first, second),
            source=await banks[0].open(anna.id, funds_minor=100_000_00),
            to=await banks[0].open(ben.id),
        )


async def test_high_transfer_is_verified_and_then_made(payer: Payer, superuser: Superuser) -> None:
    needed = data(await payer.transfer(description="The rent"), 202)

    assert set(needed) == {"verification_required", "verification_id", "message", "expires_at"}
    assert needed["message"] == "Please complete OTP verification via User-Admin portal"
    assert await payer.balance() == 100_000_00
    (waiting,) = await payer.anna.pending()
    assert waiting["operation_type"] == "high_value_transfer"
    assert waiting["details"] == {
        "from_wallet_id": str(payer.source),
        "to_wallet_id": str(payer.to),
        "amount": "60000.00",
        "currency": "INR",
        "description": "The rent",
    }
    token = await payer.anna.confirm(needed["verification_id"])
    made = data(await payer.transfer(description="The rent", verification_token=token), 201)
    assert made["status"] == "completed"
    assert await payer.balance() == 40_000_00
    row = await superuser.fetchrow(STATUS, needed["verification_id"])
    assert row is not None
    assert (row["status"], str(row["used_by"])) == ("used", made["id"])


@pytest.mark.parametrize(("amount", "status"), [("50000.00", 201), ("50000.01", 202)])
async def test_the_limit_itself_needs_no_verification(
    amount: str, status: int, payer: Payer
) -> None:
    assert (await payer.transfer(amount)).status_code == status


async def test_other_currencies_have_limits_of_their_own(
    payer: Payer, banks: tuple[Bank, Bank]
) -> None:
    anna = payer.anna.id
    source = await banks[0].open(anna, funds_minor=100_000, currency=JPY)
    to = await banks[0].open(UserId(payer.anna.id), currency=JPY)
    yen = {"from_wallet_id": str(source), "to_wallet_id": str(to), "currency": "JPY"}

    assert (await payer.transfer("80001", **yen)).status_code == 202
    assert (await payer.transfer("80000", **yen)).status_code == 201


async def test_deposits_and_withdrawals_need_none(payer: Payer) -> None:
    for kind in ("deposit", "withdrawal"):
        answer = await payer.counters[0].post(
            f"/api/v1/transactions/{kind}",
            json={"wallet_id": str(payer.source), "amount": "70000.00", "currency": "INR"},
        )
        assert answer.status_code == 201


async def test_low_transfer_leaves_a_token_alone(payer: Payer) -> None:
    token = await payer.verified()

    low = await payer.transfer("100.00", verification_token=token)
    high = await payer.transfer(verification_token=token)

    assert (low.status_code, high.status_code) == (201, 201)


async def test_token_moves_money_once_in_twenty_transfers_at_two_servers(payer: Payer) -> None:
    await payer.banks[0].engine.pay(_funds(payer))
    token = await payer.verified()

    answers = await asyncio.gather(
        *(payer.transfer(verification_token=token, at=number % 2) for number in range(20))
    )

    assert sorted(answer.status_code for answer in answers) == [201] + [403] * 19
    codes = {a.json()["error"]["code"] for a in answers if a.status_code == 403}
    assert codes == {"INVALID_VERIFICATION_TOKEN"}
    assert await payer.balance() == 2_000_000_00 + 40_000_00
    assert await payer.banks[0].verify() == []


async def test_one_key_is_one_transfer_though_both_servers_have_its_token(payer: Payer) -> None:
    token = await payer.verified(key="rent")

    answers = await asyncio.gather(
        *(
            payer.transfer(verification_token=token, key="rent", at=number % 2)
            for number in range(10)
        )
    )
    again = data(await payer.transfer(key="rent"), 201)

    assert {data(answer, 201)["id"] for answer in answers} == {again["id"]}
    assert await payer.balance() == 40_000_00


async def test_asking_does_not_use_the_key_up(payer: Payer) -> None:
    first = data(await payer.transfer(key="rent"), 202)
    again = data(await payer.transfer(key="rent"), 202)
    lower = data(await payer.transfer("10.00", key="rent"), 201)

    assert first["verification_id"] == again["verification_id"]
    assert lower["amount"] == "10.00"


@pytest.mark.parametrize("changed", ["amount", "to_wallet_id", "from_wallet_id", "description"])
async def test_token_is_for_this_very_transfer(changed: str, payer: Payer) -> None:
    token = await payer.verified(description="The rent")
    other = await payer.banks[0].open(payer.anna.id, funds_minor=100_000_00)
    changes = {
        "amount": {"amount": "60000.01"},
        "to_wallet_id": {"to_wallet_id": str(other)},
        "from_wallet_id": {"from_wallet_id": str(other)},
        "description": {"description": "Loan of 2019, settled in full"},
    }[changed]

    refusal = await payer.transfer(
        **{"description": "The rent", "verification_token": token, **changes}
    )

    assert error(refusal, 403)["code"] == "INVALID_VERIFICATION_TOKEN"
    data(await payer.transfer(description="The rent", verification_token=token), 201)


async def test_another_description_is_another_verification(payer: Payer) -> None:
    rent = data(await payer.transfer(description="The rent"), 202)
    gift = data(await payer.transfer(description="A gift"), 202)

    assert rent["verification_id"] != gift["verification_id"]
    assert [found["details"]["description"] for found in await payer.anna.pending()] == [
        "A gift",
        "The rent",
    ]


@pytest.mark.parametrize("token", ["ver_made_up", "x", "\u0661"])
async def test_made_up_token_moves_nothing(token: str, payer: Payer) -> None:
    refusal = await payer.transfer(verification_token=token)

    assert error(refusal, 403)["code"] == "INVALID_VERIFICATION_TOKEN"
    assert await payer.balance() == 100_000_00


async def test_token_that_is_too_old_moves_nothing(payer: Payer, superuser: Superuser) -> None:
    needed = data(await payer.transfer(), 202)
    token = await payer.anna.confirm(needed["verification_id"])
    await superuser.execute(
        "UPDATE identity.verifications SET expires_at = clock_timestamp() WHERE id = $1",
        needed["verification_id"],
    )

    refusal = error(await payer.transfer(verification_token=token), 410)

    assert (refusal["code"], refusal["details"]) == ("VERIFICATION_EXPIRED", {"status": "expired"})
    assert await payer.balance() == 100_000_00


async def test_token_that_moved_nothing_is_spent_later(payer: Payer) -> None:
    token = await payer.verified("150000.00")
    short = await payer.transfer("150000.00", verification_token=token)
    await payer.banks[0].engine.pay(_funds(payer))

    made = await payer.transfer("150000.00", verification_token=token)
    again = await payer.transfer("150000.00", verification_token=token)

    assert error(short, 412)["code"] == "INSUFFICIENT_FUNDS"
    assert data(made, 201)["status"] == "completed"
    assert error(again, 403)["code"] == "INVALID_VERIFICATION_TOKEN"


async def test_what_is_wrong_with_an_order_is_told_before_anything_is_verified(
    payer: Payer,
) -> None:
    foreign = await payer.transfer(from_wallet_id=str(payer.to), to_wallet_id=str(payer.source))
    mismatched = await payer.transfer(currency="USD")

    assert error(foreign, 404)["code"] == "NOT_FOUND"
    assert error(mismatched, 400)["code"] == "VALIDATION_ERROR"
    assert await payer.anna.pending() == []


async def test_neighbours_of_a_transfer_to_be_verified_are_made(payer: Payer) -> None:
    answers = await asyncio.gather(
        *(payer.transfer("100.00" if number % 2 else "60000.00") for number in range(20))
    )

    assert sorted({answer.status_code for answer in answers}) == [201, 202]
    assert await payer.balance() == 100_000_00 - 10 * 100_00


@pytest.mark.parametrize(
    "edit",
    [
        "used_by = gen_random_uuid()",
        "account_id = (SELECT id FROM identity.accounts WHERE type = 'user_admin' LIMIT 1)",
        "parameters = sha256(parameters)",
    ],
)
async def test_token_that_was_spent_on_something_else_is_found(
    edit: str, payer: Payer, superuser: Superuser
) -> None:
    needed = data(await payer.transfer(), 202)
    token = await payer.anna.confirm(needed["verification_id"])
    data(await payer.transfer(verification_token=token), 201)
    before = await findings_of(superuser, CHECKS)
    change = f"UPDATE identity.verifications SET {edit} WHERE id = $1"
    await superuser.execute(change, needed["verification_id"])

    found = await findings_of(superuser, CHECKS)

    await superuser.execute(
        "DELETE FROM identity.verifications WHERE id = $1", needed["verification_id"]
    )
    assert before == []
    assert [(finding.table, finding.row) for finding in found] == [
        ("identity.verifications", needed["verification_id"])
    ]


def _funds(payer: Payer) -> PaymentOrder:
    return deposit(payer.anna.id, payer.source, amount_minor=2_000_000_00)
