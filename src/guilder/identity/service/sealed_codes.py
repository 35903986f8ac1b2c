"""Codes as they are made, and as they travel to whoever delivers them."""

from __future__ import annotations

import secrets
from base64 import b64encode
from datetime import timedelta
from uuid import UUID

from guilder.identity.events import CodeIssued, code_place
from guilder.identity.store.users import database_time
from guilder.kernel.ids import UserId
from guilder.platform import ephemeral
from guilder.platform.db import Tx
from guilder.platform.envelopes import OuterKeys
from guilder.platform.identifiers import new_id
from guilder.platform.outbox import append, outgoing


def new_code() -> str:
    """Six digits that nobody can foresee."""
    return f"{secrets.randbelow(1_000_000):06}"


class CodePost:
    """Hands codes over to whoever delivers messages: sealed, and to be opened in time only."""

    def __init__(self, keys: OuterKeys) -> None:
        self._keys = keys

    async def publish(
        self,
        tx: Tx,
        user_id: UserId,
        purpose: str,
        *,
        code: str,
        channel: str,
        life: timedelta,
        id_: UUID | None = None,
    ) -> None:
        """Have a code delivered. Nobody can open it after its ``life``, nor once ``id_`` is
        forgotten (`guilder.platform.ephemeral`)."""
        secret = ephemeral.sealed(code.encode(), at=code_place(user_id), id_=id_ or new_id())
        await ephemeral.keep(tx, secret, life=life, keys=self._keys)
        issued_at = await database_time(tx)
        issued = CodeIssued(
            user_id=user_id,
            purpose=purpose,
            channel=channel,
            sealed=b64encode(secret.sealed).decode("ascii"),
            issued_at=issued_at,
            expires_at=issued_at + life,
        )
        await append(tx, [outgoing(issued, key=str(user_id))])
