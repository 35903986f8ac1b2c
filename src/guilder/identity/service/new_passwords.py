"""What every change of a password does, however it was allowed."""

from __future__ import annotations

from guilder.identity.api import AccountView
from guilder.identity.api.verifications import VerificationId
from guilder.identity.events import PasswordChanged
from guilder.identity.store import credentials, verifications
from guilder.identity.store.users import database_time
from guilder.kernel.ids import UserId
from guilder.platform.db import Tx
from guilder.platform.outbox import append, outgoing


def telling_words(account: AccountView) -> tuple[str, ...]:
    """What others would try first as this user's password."""
    return (
        account.email,
        account.email.partition("@")[0],
        account.full_name,
        account.phone or "",
    )


async def put_password(
    tx: Tx, user_id: UserId, *, password_hash: str, by: str
) -> list[VerificationId]:
    """Write another password, and void what was begun under the old one; answer what that was.

    Writing the same hash again, when an answer was lost, tells of it only once.
    """
    if await credentials.password(tx, user_id) == password_hash:
        return []
    await credentials.set_password(tx, user_id, password_hash=password_hash)
    ended = await verifications.end_open(tx, user_id)
    changed = PasswordChanged(user_id=user_id, by=by, changed_at=await database_time(tx))
    await append(tx, [outgoing(changed, key=str(user_id))])
    return ended
