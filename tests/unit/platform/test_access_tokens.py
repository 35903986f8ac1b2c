"""Access tokens: a good one names its caller, and every forged or stale one is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from guilder.kernel.errors import Overloaded, Unauthenticated
from guilder.platform import access_tokens
from guilder.platform.access_tokens import AccessClaims
from guilder.platform.auth import CLOCK_SKEW_S, TokenVerifier
from guilder.platform.keys import KeyFolder, SigningKey
from guilder.platform.permissions import ROLES
from guilder.platform.standing import PATIENCE_S, Kind, Revocation, Standing
from tests.support.standing import HandMadeFeed, nothing_revoked

NOW = 1_800_000_000
ANNA = UUID("0193a3a0-0000-7000-8000-000000000001")
SESSION = UUID("0193a3a0-0000-7000-8000-000000000002")
TOKEN = UUID("0193a3a0-0000-7000-8000-000000000003")
HEADER = {"typ": "at+jwt", "alg": "ES256"}
CLAIMS: dict[str, Any] = {
    "iss": "guilder",
    "aud": "guilder",
    "sub": str(ANNA),
    "jti": str(TOKEN),
    "iat": NOW,
    "exp": NOW + 900,
    "account_type": "customer",
    "roles": ["customer"],
    "email": "anna@example.com",
    "customer_id": str(ANNA),
    "sid": str(SESSION),
}


class Wall:
    """A clock on the wall that a test sets."""

    def __init__(self) -> None:
        self.time = float(NOW)

    def __call__(self) -> float:
        return self.time


class Issuer:
    """Makes good tokens and bad ones under one real key."""

    def __init__(self, key: SigningKey) -> None:
        self.key = key

    def token(self, *, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token of Anna's with the given members instead; None removes one."""
        stated = {k: v for k, v in {**CLAIMS, **claims}.items() if v is not None}
        return self.sign({**HEADER, "kid": self.key.kid, **(header or {})}, stated)

    def sign(self, header: dict[str, Any], claims: object, key: ECKey | None = None) -> str:
        head = {k: v for k, v in header.items() if v is not None}
        registry = jws.JWSRegistry(algorithms=["ES256"], strict_check_header=False)
        return jws.serialize_compact(
            head, json.dumps(claims).encode(), key or self.key.key, registry=registry
        )


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def folder(tmp_path: Path, wall: Wall) -> KeyFolder:
    keys = KeyFolder(tmp_path / "keys", now=wall)
    keys.ensure()
    return keys


@pytest.fixture
async def issuer(folder: KeyFolder) -> Issuer:
    return Issuer(await folder.signing_key())


@pytest.fixture
def verifier(folder: KeyFolder, wall: Wall) -> TokenVerifier:
    return TokenVerifier(folder, standing=nothing_revoked(), now=wall)


async def test_good_token_names_its_caller(issuer: Issuer, verifier: TokenVerifier) -> None:
    claims = AccessClaims(
        iss="guilder",
        aud="guilder",
        sub=ANNA,
        jti=TOKEN,
        iat=NOW,
        exp=NOW + 900,
        account_type="customer",
        roles=("customer",),
        email="anna@example.com",
        customer_id=ANNA,
        sid=SESSION,
    )

    caller = await verifier.verify(access_tokens.sign(claims, key=issuer.key))

    assert (caller.user_id, caller.customer_id) == (ANNA, ANNA)
    assert (caller.session_id, caller.token_id) == (SESSION, TOKEN)
    assert caller.account_type == "customer"
    assert caller.may("payments:write")
    assert not caller.may("ledger:write")


async def test_signed_token_says_what_it_is(issuer: Issuer) -> None:
    header, payload, _ = issuer.token().split(".")

    assert _decoded(header) == {**HEADER, "kid": issuer.key.kid}
    assert _decoded(payload) == CLAIMS


async def test_user_admin_token_moves_no_money(issuer: Issuer, verifier: TokenVerifier) -> None:
    token = issuer.token(account_type="user_admin", roles=["user_admin"])

    assert (await verifier.verify(token)).permissions == {"verifications:read", "roles:own"}


async def test_unknown_role_grants_nothing(issuer: Issuer, verifier: TokenVerifier) -> None:
    caller = await verifier.verify(issuer.token(roles=["emperor"]))

    assert caller.permissions == frozenset()


Forgery = Callable[[Issuer], str]


def _decoded(segment: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))


def _segment(value: object) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def _unsigned(issuer: Issuer) -> str:
    header = {"typ": "at+jwt", "alg": "none", "kid": issuer.key.kid}
    return f"{_segment(header)}.{_segment(CLAIMS)}."


def _unsigned_with_old_signature(issuer: Issuer) -> str:
    header = {"typ": "at+jwt", "alg": "none", "kid": issuer.key.kid}
    return f"{_segment(header)}.{_segment(CLAIMS)}.{issuer.token().rpartition('.')[2]}"


def _signed_with_the_public_key(issuer: Issuer) -> str:
    header = {"typ": "at+jwt", "alg": "HS256", "kid": issuer.key.kid}
    secret = json.dumps(issuer.key.public()).encode()
    signing = f"{_segment(header)}.{_segment(CLAIMS)}"
    return f"{signing}.{_segment(hmac.digest(secret, signing.encode(), hashlib.sha256))}"


def _signed_by_another(issuer: Issuer) -> str:
    other = ECKey.generate_key("P-256", private=True)
    return issuer.sign({**HEADER, "kid": issuer.key.kid}, CLAIMS, other)


def _bringing_its_own_key(issuer: Issuer) -> str:
    other = ECKey.generate_key("P-256", private=True)
    header = {**HEADER, "kid": issuer.key.kid, "jwk": other.as_dict(private=False)}
    return issuer.sign(header, CLAIMS, other)


def _with_other_claims(issuer: Issuer) -> str:
    header, _, signature = issuer.token().split(".")
    return f"{header}.{_segment({**CLAIMS, 'roles': ['admin']})}.{signature}"


def _with_last_bit_turned(issuer: Issuer) -> str:
    # The last character of 64 bytes has four spare bits; another of its spellings is another text.
    token = issuer.token()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + alphabet[alphabet.index(token[-1]) + 1]


def _with_critical_extension(issuer: Issuer) -> str:
    # The library does not write what it does not know, so this one is signed by hand.
    header = {**HEADER, "kid": issuer.key.kid, "crit": ["exp"], "exp": NOW}
    signing = f"{_segment(header)}.{_segment(CLAIMS)}"
    algorithm = jws.JWSRegistry.algorithms["ES256"]
    return f"{signing}.{_segment(algorithm.sign(signing.encode(), issuer.key.key))}"


FORGERIES: dict[str, Forgery] = {
    "unsigned": _unsigned,
    "unsigned with a signature": _unsigned_with_old_signature,
    "HS256 with the public key": _signed_with_the_public_key,
    "another's key": _signed_by_another,
    "its own key in the header": _bringing_its_own_key,
    "other claims": _with_other_claims,
    "another spelling": _with_last_bit_turned,
    "padded": lambda issuer: issuer.token() + "=",
    "followed by a line": lambda issuer: issuer.token() + "\n",
    "unknown kid": lambda issuer: issuer.token(header={"kid": "A" * 43}),
    "kid that is a path": lambda issuer: issuer.token(header={"kid": "../../etc/passwd"}),
    "no kid": lambda issuer: issuer.token(header={"kid": None}),
    "no type": lambda issuer: issuer.token(header={"typ": None}),
    "plain JWT": lambda issuer: issuer.token(header={"typ": "JWT"}),
    "refresh token": lambda issuer: issuer.token(header={"typ": "rt+jwt"}),
    "no expiry": lambda issuer: issuer.token(exp=None),
    "expiry as text": lambda issuer: issuer.token(exp=str(NOW + 900)),
    "expiry without end": lambda issuer: issuer.token(exp=float("inf")),
    "expired": lambda issuer: issuer.token(iat=NOW - 900, exp=NOW),
    "issued in the future": lambda issuer: issuer.token(iat=NOW + CLOCK_SKEW_S + 1),
    "not valid yet": lambda issuer: issuer.token(nbf=NOW + CLOCK_SKEW_S + 1),
    "no time of issue": lambda issuer: issuer.token(iat=None),
    "expiring before its issue": lambda issuer: issuer.token(iat=NOW + 2, exp=NOW + 1),
    "another issuer": lambda issuer: issuer.token(iss="https://evil.example"),
    "no issuer": lambda issuer: issuer.token(iss=None),
    "another audience": lambda issuer: issuer.token(aud="somebody-else"),
    "no audience": lambda issuer: issuer.token(aud=None),
    "subject that is no id": lambda issuer: issuer.token(sub="anna"),
    "no subject": lambda issuer: issuer.token(sub=None),
    "claims that are a list": lambda issuer: issuer.sign({**HEADER, "kid": issuer.key.kid}, []),
    "a header that is a list": lambda issuer: f"{_segment([])}.{_segment(CLAIMS)}.{'A' * 86}",
    "a header that is no text": lambda issuer: f"{_segment(bytes([255]))}.A.{'A' * 86}",
    "critical extension": _with_critical_extension,
    "empty": lambda _: "",
    "dots": lambda _: "..",
    "not ASCII": lambda issuer: issuer.token().replace("e", "е"),  # noqa: RUF001 - a Cyrillic letter
    "lone surrogate": lambda _: "\ud800.a.b",
    "NUL": lambda issuer: issuer.token() + "\0",
    "very long": lambda _: "a" * 1_000_000,
    "very deep": lambda _: f"{_segment(b'[' * 2000)}.{_segment(CLAIMS)}.{'A' * 86}",
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES.keys())
async def test_forged_token_is_refused(
    forgery: Forgery, issuer: Issuer, verifier: TokenVerifier
) -> None:
    token = forgery(issuer)

    with pytest.raises(Unauthenticated):
        await verifier.verify(token)
    assert verifier.cached(token) is None


async def test_token_is_remembered_until_it_expires(
    issuer: Issuer, verifier: TokenVerifier, wall: Wall
) -> None:
    token = issuer.token()
    assert verifier.cached(token) is None
    caller = await verifier.verify(token)
    assert verifier.cached(token) is caller
    assert await verifier.verify(token) is caller

    wall.time = NOW + 900

    assert verifier.cached(token) is None
    with pytest.raises(Unauthenticated):
        await verifier.verify(token)


async def test_memory_of_tokens_is_bounded_and_keeps_what_is_used(
    issuer: Issuer, folder: KeyFolder, wall: Wall
) -> None:
    verifier = TokenVerifier(folder, standing=nothing_revoked(), now=wall, remembered=4)
    used = issuer.token(iat=NOW - 1)
    await verifier.verify(used)
    others = [issuer.token(exp=NOW + 100 + number) for number in range(20)]

    for token in others:
        await verifier.verify(token)
        assert verifier.cached(used) is not None

    remembered = [token for token in others if verifier.cached(token) is not None]
    assert 0 < len(remembered) <= 8


@pytest.mark.parametrize(
    ("kind", "subject_id"),
    [
        (Kind.SESSION_ENDED, SESSION),
        (Kind.TOKEN_ENDED, TOKEN),
        (Kind.USER_FROZEN, ANNA),
    ],
)
async def test_remembered_token_is_refused_once_it_is_revoked(
    issuer: Issuer, folder: KeyFolder, wall: Wall, kind: Kind, subject_id: UUID
) -> None:
    feed = HandMadeFeed()
    standing = Standing(feed)
    verifier = TokenVerifier(folder, standing=standing, now=wall)
    token = issuer.token()
    before = await verifier.verify(token)

    feed.revocations = [Revocation(position=1, kind=kind, subject_id=subject_id)]
    await standing.refresh()

    assert before.user_id == ANNA
    assert verifier.cached(token) is None
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            await verifier.verify(token)


async def test_remembered_token_has_the_roles_of_now(
    issuer: Issuer, folder: KeyFolder, wall: Wall
) -> None:
    feed = HandMadeFeed()
    standing = Standing(feed)
    verifier = TokenVerifier(folder, standing=standing, now=wall)
    token = issuer.token()
    before = await verifier.verify(token)

    feed.revocations = [
        Revocation(
            position=1, kind=Kind.ROLES_CHANGED, subject_id=ANNA, roles=frozenset({"support"})
        )
    ]
    await standing.refresh()
    after = verifier.cached(token)

    assert before.roles == {"customer"}
    assert after is not None
    assert after.roles == {"support"}
    assert after.permissions == ROLES["support"]


async def test_frozen_customer_is_refused_in_every_account_they_act_by(
    issuer: Issuer, folder: KeyFolder, wall: Wall
) -> None:
    feed = HandMadeFeed()
    feed.revocations = [Revocation(position=1, kind=Kind.USER_FROZEN, subject_id=ANNA)]
    verifier = TokenVerifier(folder, standing=Standing(feed), now=wall)
    another_account = UUID("0193a3a0-0000-7000-8000-000000000009")
    token = issuer.token(sub=str(another_account), account_type="user_admin", roles=["user_admin"])

    with pytest.raises(Unauthenticated):
        await verifier.verify(token)


async def test_good_token_is_refused_while_nobody_can_say_whether_it_is_revoked(
    issuer: Issuer, folder: KeyFolder, wall: Wall
) -> None:
    feed = HandMadeFeed()
    moment = [0.0]
    standing = Standing(feed, clock=lambda: moment[0])
    verifier = TokenVerifier(folder, standing=standing, now=wall)
    token = issuer.token()
    await verifier.verify(token)
    moment[0] += PATIENCE_S + 1
    feed.fails = OSError("away")
    cached = verifier.cached(token)

    with pytest.raises(Overloaded):
        await verifier.verify(token)
    feed.fails = None
    again = await verifier.verify(token)

    assert cached is None
    assert again.user_id == ANNA


async def test_forged_token_is_no_reason_to_ask_the_database(folder: KeyFolder, wall: Wall) -> None:
    feed = HandMadeFeed()
    verifier = TokenVerifier(folder, standing=Standing(feed), now=wall)

    with pytest.raises(Unauthenticated):
        await verifier.verify("a.b.c")

    assert feed.reads == 0
