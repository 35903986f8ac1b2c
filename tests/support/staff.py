"""A token that may do everything, signed with a running Guilder's own key."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from guilder.platform import access_tokens
from guilder.platform.access_tokens import AccessClaims
from guilder.platform.auth import AUDIENCE, ISSUER
from guilder.platform.identifiers import new_id
from guilder.platform.keys import KeyFolder
from guilder.platform.permissions import ROLES

_LIFE_S = 3600


def token_of_everybody(data_dir: Path) -> str:
    """Of somebody who has every role there is."""
    key = asyncio.run(KeyFolder(data_dir / "keys").signing_key())
    now = int(time.time())
    somebody = new_id()
    claims = AccessClaims(
        iss=ISSUER,
        aud=AUDIENCE,
        sub=somebody,
        jti=new_id(),
        iat=now,
        exp=now + _LIFE_S,
        account_type="customer",
        roles=tuple(ROLES),
        customer_id=somebody,
    )
    return access_tokens.sign(claims, key=key)
