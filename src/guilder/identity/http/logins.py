"""What a sign-in answers, however it was proved; and what is known of who asks."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import msgspec

from guilder.identity.api import AccountView, SignedIn
from guilder.platform.http.route import Request

_MAX_USER_AGENT_CHARACTERS: Final = 200


class SignedInUser(msgspec.Struct, kw_only=True):
    """The account that signed in, and whose it is."""

    id: UUID
    email: str
    phone: str | None
    full_name: str
    status: str
    roles: tuple[str, ...]
    account_type: str
    customer_id: UUID | None


class Login(msgspec.Struct, kw_only=True):
    """An access token, and what to get the next one with. Times are in seconds.

    ``token`` and ``access_token`` are the same. ``refresh_token`` is used once, at
    ``POST /auth/refresh``, which answers the next one. ``device_token`` is what this device is
    remembered by; null: it is not.
    """

    token: str
    access_token: str
    token_type: str
    expires_at: int
    expires_in: int
    refresh_token: str
    refresh_expires_at: int
    device_token: str | None
    user: SignedInUser


def login_body(signed_in: SignedIn) -> Login:
    """A session as it is answered to whoever opened or refreshed it."""
    return Login(
        token=signed_in.token,
        access_token=signed_in.token,
        token_type="Bearer",  # noqa: S106 - the name of a scheme, not a secret
        expires_at=signed_in.expires_at,
        expires_in=signed_in.expires_in_s,
        refresh_token=signed_in.refresh_token,
        refresh_expires_at=signed_in.refresh_expires_at,
        device_token=signed_in.device_token,
        user=signed_in_user(signed_in.account),
    )


def signed_in_user(account: AccountView) -> SignedInUser:
    """An account as its holder sees it."""
    return SignedInUser(
        id=account.id,
        email=account.email,
        phone=account.phone,
        full_name=account.full_name,
        status=account.status,
        roles=account.roles,
        account_type=account.account_type.value,
        customer_id=account.customer_id,
    )


def user_agent(request: Request) -> str | None:
    """What the caller's program calls itself, as far as it can be shown to people."""
    text = request.headers.get("user-agent", "")[:_MAX_USER_AGENT_CHARACTERS]
    return "".join(filter(str.isprintable, text)) or None
