"""Tokens signed with a Guilder's own key, for people whom a test needs and nobody registered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path
from uuid import UUID

from guilder.platform import access_tokens
from guilder.platform.access_tokens import AccessClaims
from guilder.platform.auth import AUDIENCE, ISSUER
from guilder.platform.identifiers import new_id
from guilder.platform.keys import KeyFolder, SigningKey
from guilder.platform.permissions import CUSTOMER, ROLES

_LIFE_S = 840


def token_of_everybody(data_dir: Path) -> str:
    """Of somebody who has every role there is."""
    return sign(new_id(), key=asyncio.run(signing_key(data_dir)), roles=ROLES)


async def signing_key(data_dir: Path) -> SigningKey:
    """The key that the Guilder of this folder signs with; made when there is none yet."""
    folder = KeyFolder(data_dir / "keys")
    folder.ensure()
    return await folder.signing_key()


def sign(user_id: UUID, *, key: SigningKey, roles: Iterable[str] = (CUSTOMER,)) -> str:
    """The token of ``user_id``, good for a while."""
    now = int(time.time())
    claims = AccessClaims(
        iss=ISSUER,
        aud=AUDIENCE,
        sub=user_id,
        jti=new_id(),
        iat=now,
        exp=now + _LIFE_S,
        account_type="customer",
        roles=tuple(roles),
        customer_id=user_id,
    )
    return access_tokens.sign(claims, key=key)
