"""Who a machine client's token speaks for, and what it may, as things stand."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from guilder.kernel.errors import Unauthenticated
from guilder.platform.access_tokens import AccessClaims, sign
from guilder.platform.auth import AUDIENCE, ISSUER, Caller, TokenVerifier
from guilder.platform.identifiers import new_id
from guilder.platform.keys import KeyFolder
from guilder.platform.standing import Kind, Revocation, Standing
from tests.support.standing import HandMadeFeed

CLIENT, OWNER, ITS_SESSION = new_id(), new_id(), new_id()


def claims(**changes: Any) -> AccessClaims:
    now = int(time.time())
    of_a_customer = AccessClaims(
        iss=ISSUER,
        aud=AUDIENCE,
        sub=CLIENT,
        jti=new_id(),
        iat=now,
        exp=now + 900,
        account_type="client",
        roles=("customer",),
        customer_id=OWNER,
        sid=ITS_SESSION,
        client_id=CLIENT,
        scope="wallets:read payments:write ledger:read",
        owner_id=OWNER,
    )
    return msgspec.structs.replace(of_a_customer, **changes)


class Gate:
    """Verifies tokens that it signs itself. What was revoked is in its ``feed``."""

    def __init__(self, folder: Path) -> None:
        self.keys = KeyFolder(folder / "keys")
        self.keys.ensure()
        self.feed = HandMadeFeed()
        self.standing = Standing(self.feed)
        self.verifier = TokenVerifier(self.keys, standing=self.standing)

    async def caller(self, **changes: Any) -> Caller:
        key = await self.keys.signing_key()
        return await self.verifier.verify(sign(claims(**changes), key=key))

    async def revoke(self, kind: Kind, subject_id: Any, *roles: str) -> None:
        self.feed.revocations = [
            Revocation(position=1, kind=kind, subject_id=subject_id, roles=frozenset(roles))
        ]
        await self.standing.refresh()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


async def test_a_client_may_what_its_scopes_and_its_owners_roles_both_grant(gate: Gate) -> None:
    caller = await gate.caller()

    assert caller.permissions == {"wallets:read", "payments:write"}
    assert (caller.user_id, caller.customer_id) == (OWNER, OWNER)
    assert caller.client_id == caller.actor_id == CLIENT
    assert (caller.roles, caller.session_id) == (frozenset(), None)


async def test_a_client_of_the_house_may_what_its_scopes_say(gate: Gate) -> None:
    caller = await gate.caller(owner_id=None, customer_id=None, roles=())

    assert caller.permissions == {"wallets:read", "payments:write", "ledger:read"}
    assert caller.user_id == caller.client_id == CLIENT


async def test_a_client_without_scopes_may_nothing(gate: Gate) -> None:
    assert (await gate.caller(scope=None)).permissions == frozenset()


async def test_a_client_loses_what_its_owner_loses(gate: Gate) -> None:
    before = await gate.caller(roles=("customer", "operations"))

    await gate.revoke(Kind.ROLES_CHANGED, OWNER, "customer")
    after = await gate.caller(roles=("customer", "operations"))

    assert before.may("ledger:read")
    assert not after.may("ledger:read")
    assert after.may("wallets:read")


@pytest.mark.parametrize(
    ("kind", "subject_id"),
    [
        (Kind.USER_FROZEN, OWNER),
        (Kind.USER_FROZEN, CLIENT),
        (Kind.SESSION_ENDED, ITS_SESSION),
    ],
)
async def test_a_clients_tokens_end_with_it_and_with_its_owners_freedom(
    gate: Gate, kind: Kind, subject_id: Any
) -> None:
    assert await gate.caller()

    await gate.revoke(kind, subject_id)

    with pytest.raises(Unauthenticated):
        await gate.caller()


@pytest.mark.parametrize(
    "changes",
    [
        {"account_type": "customer"},
        {"account_type": "staff"},
        {"client_id": None},
        {"client_id": OWNER},
    ],
    ids=["a customer's", "a staff member's", "nobody's", "its owner's"],
)
async def test_a_token_is_a_clients_or_a_persons_and_never_both(
    gate: Gate, changes: dict[str, Any]
) -> None:
    with pytest.raises(Unauthenticated):
        await gate.caller(**changes)
