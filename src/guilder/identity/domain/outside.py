"""Sign-in with outside providers: what binds it to a browser, what an ID token must say, and
which user it may be.

Nothing secret of a sign-in is stored: the nonce and the PKCE verifier (RFC 7636) are derived from
a secret that only the browser keeps, in a cookie of its own for each sign-in.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Collection, Sequence
from datetime import timedelta
from enum import Enum, auto
from hashlib import sha256
from typing import Final

from msgspec import Struct

from guilder.identity.api import AccountType, AccountView
from guilder.identity.api.outside import Ask, OutsidePerson

SECRET_BYTES: Final = 32
FLOW_LIFE: Final = timedelta(minutes=10)
ID_TOKEN_SKEW_S: Final = 60
_LONGEST_ID_TOKEN_LIFE_S: Final = 24 * 3600
_SPELLED: Final = re.compile(r"[A-Za-z0-9_-]{43}")


class IdClaims(Struct, frozen=True, kw_only=True):
    """What an ID token says, as far as we read it. Times are Unix seconds."""

    iss: str
    sub: str
    aud: str | list[str]
    exp: int
    iat: int
    nonce: str | None = None
    azp: str | None = None
    email: str | None = None
    email_verified: bool | str | None = None


class Verdict(Enum):
    """What becomes of a person whom nobody here is linked to."""

    LINK_BY_EMAIL = auto()
    REFUSE = auto()


def spelled(secret: bytes) -> str:
    """A secret or a digest as a URL, a cookie or a form carries it."""
    return urlsafe_b64encode(secret).decode("ascii").rstrip("=")


def is_spelled(text: str | None) -> bool:
    """Whether ``text`` could be a secret of ours."""
    return text is not None and _SPELLED.fullmatch(text) is not None


def digest(text: str) -> bytes:
    """What is stored of a secret."""
    return sha256(text.encode()).digest()


def asked(*, state: str, browser_secret: str, redirect_uri: str) -> Ask:
    """What the provider is asked with when this browser signs in under ``state``."""
    return Ask(
        state=state,
        nonce=_derived("nonce", state, browser_secret),
        verifier=_derived("verifier", state, browser_secret),
        redirect_uri=redirect_uri,
    )


def challenge(verifier: str) -> str:
    """The S256 challenge of a PKCE verifier."""
    return spelled(digest(verifier))


def subject_text(person: OutsidePerson) -> str:
    """What a person of a provider is known by here, once it is made a pseudonym."""
    return f"outside|{person.issuer}|{person.subject}"


def id_token_problem(
    claims: IdClaims, *, issuer: str, client_id: str, nonce: str, now: int
) -> str | None:
    """Why an ID token, whose signature is good, is not an answer to us; None: it is one.

    OpenID Connect Core, section 3.1.3.7.
    """
    audience: Sequence[str] = [claims.aud] if isinstance(claims.aud, str) else claims.aud
    problems = {
        "issuer": claims.iss != issuer,
        "audience": client_id not in audience,
        "party": (claims.azp or client_id) != client_id
        or (len(audience) > 1 and claims.azp is None),
        "expired": claims.exp <= now - ID_TOKEN_SKEW_S,
        "time": claims.iat > now + ID_TOKEN_SKEW_S or claims.iat < now - _LONGEST_ID_TOKEN_LIFE_S,
        "nonce": claims.nonce != nonce,
        "subject": not 0 < len(claims.sub) <= 255,
    }
    return next((name for name, is_wrong in problems.items() if is_wrong), None)


def judge(
    candidate: AccountView | None, *, email_is_verified: bool, usual_roles: Collection[str]
) -> Verdict:
    """Whether a person with a verified email may be taken for who has the same email here.

    Both sides must have verified it, else somebody who registers with another's email, here or
    there, would share their account. Accounts that may more than by ``usual_roles`` are never
    taken.
    """
    may = (
        candidate is not None
        and email_is_verified
        and candidate.account_type is AccountType.CUSTOMER
        and set(candidate.roles) <= set(usual_roles)
    )
    return Verdict.LINK_BY_EMAIL if may else Verdict.REFUSE


def holds(account: AccountView, *, by_email: bool, usual: Collection[str]) -> bool:
    """Whether a link still signs in. One that an email made does not, once the account may more
    than by ``usual`` roles: nobody who is now staff had asked for it.
    """
    return not by_email or set(account.roles) <= set(usual)


def _derived(purpose: str, state: str, secret: str) -> str:
    return spelled(digest(f"{purpose}|{state}|{secret}"))
