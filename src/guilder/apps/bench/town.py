"""Who is measured with: people, their wallets with money in them, and tokens to act for them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from guilder.kernel.currencies import INR
from guilder.kernel.ids import UserId, WalletId
from guilder.kernel.invariant import invariant
from guilder.ledger.api import Ledger
from guilder.payments.api import PaymentOrder, Payments, PaymentType
from guilder.platform import access_tokens
from guilder.platform.access_tokens import AccessClaims
from guilder.platform.auth import AUDIENCE, ISSUER
from guilder.platform.db import Database, Tx
from guilder.platform.identifiers import new_id
from guilder.platform.keys import KeyFolder, SigningKey
from guilder.platform.permissions import CUSTOMER, OPERATIONS
from guilder.wallets.module import build_service

START_MINOR: Final = 100_000
"""What each wallet begins with, in paise: within what an unverified person may fund in a day."""
_TIME_ZONE: Final = "Asia/Kolkata"
_TOKEN_LIFE_S: Final = 12 * 3600
_AT_ONCE: Final = 1024
_FAMILIES_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody with wallets, and the access token that acts for them."""

    id: UserId
    wallets: tuple[WalletId, ...]
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    """Everybody who is measured with."""

    people: tuple[Person, ...]
    operator: str
    """The token of somebody who may post in the ledger."""

    @property
    def purses(self) -> tuple[tuple[UserId, WalletId], ...]:
        """Every wallet with its owner."""
        return tuple((person.id, wallet) for person in self.people for wallet in person.wallets)

    def write(self, path: Path) -> None:
        """The operator's token, then for each person a line of token and wallets, tabs between."""
        lines = ("\t".join((person.token, *map(str, person.wallets))) for person in self.people)
        path.write_text("".join(f"{line}\n" for line in (self.operator, *lines)))
        path.chmod(0o600)


async def settle_town(
    db: Database, *, ledger: Ledger, keys: KeyFolder, people: int, wallets_each: int
) -> Town:
    """Open everybody's wallets, with the controls that every new wallet has."""
    service = build_service(db=db, ledger=ledger, time_zone=_TIME_ZONE)
    turns = asyncio.Semaphore(_FAMILIES_AT_ONCE)  # nobody waits long for a connection

    async def settle() -> tuple[UserId, tuple[WalletId, ...]]:
        owner_id = UserId(new_id())

        async def open_all(tx: Tx) -> tuple[WalletId, ...]:
            return tuple(
                [
                    await service.open_active_wallet(tx, owner_id, currency=INR)
                    for _ in range(wallets_each)
                ]
            )

        async with turns:
            return owner_id, await db.run(open_all)

    settled = await asyncio.gather(*(settle() for _ in range(people)))
    key = await keys.signing_key()
    return Town(
        operator=_token(UserId(new_id()), role=OPERATIONS, key=key),
        people=tuple(
            Person(id=owner_id, wallets=wallets, token=_token(owner_id, role=CUSTOMER, key=key))
            for owner_id, wallets in settled
        ),
    )


async def fund(town: Town, *, payments: Payments) -> None:
    """Put the first money into every wallet."""
    purses = town.purses
    for start in range(0, len(purses), _AT_ONCE):
        outcomes = await asyncio.gather(
            *(
                payments.pay(
                    PaymentOrder(
                        type=PaymentType.DEPOSIT,
                        caller_id=owner_id,
                        key=f"start-{wallet_id}",
                        amount_minor=START_MINOR,
                        currency=INR,
                        to_wallet_id=wallet_id,
                    )
                )
                for owner_id, wallet_id in purses[start : start + _AT_ONCE]
            )
        )
        refused = next((outcome for outcome in outcomes if outcome.refusal is not None), None)
        invariant(refused is None, f"every wallet is funded: {refused}")


def _token(owner_id: UserId, *, role: str, key: SigningKey) -> str:
    now = int(time.time())
    return access_tokens.sign(
        AccessClaims(
            iss=ISSUER,
            aud=AUDIENCE,
            sub=owner_id,
            jti=new_id(),
            iat=now,
            exp=now + _TOKEN_LIFE_S,
            account_type="user",
            roles=(role,),
        ),
        key=key,
    )
