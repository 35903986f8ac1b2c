"""Who shows that an address is a user's, and what ends when nobody had shown it before.

Anybody can register with the address of somebody else, and prepare ways in for when its owner
comes. So whoever proves an address by having it and by nothing else, neither a password nor a
second factor, gets the account to themselves: here it is decided that this was the first proof, and
here every other way in ends.
"""

from __future__ import annotations

from typing import Final

from guilder.identity.api import AccountView
from guilder.identity.events import (
    AccountReclaimed,
    ContactVerified,
)
from guilder.identity.service.clients import forget_clients
from guilder.identity.service.factor_reset import end_factors
from guilder.identity.service.outside_sign_in import end_links
from guilder.identity.store import credentials
from guilder.identity.store.users import database_time
from guilder.kernel.ids import UserId
from guilder.platform.db import Tx
from guilder.platform.outbox import append, outgoing
from guilder.platform.permissions import CUSTOMER, USER_ADMIN

_USUAL: Final = frozenset({CUSTOMER, USER_ADMIN})


async def prove(tx: Tx, user_id: UserId, *, contact: str, epoch: int | None = None) -> bool:
    """Somebody has shown that an address is this user's; whether nobody had before.

    It proves nothing when the user's sessions were ended since ``epoch``: what ended them may
    have been to shut out whoever has the address.
    """
    verified_at = await credentials.verify_contact(tx, user_id, contact=contact, epoch=epoch)
    if verified_at is None:
        return False
    event = ContactVerified(user_id=user_id, contact=contact, verified_at=verified_at)
    await append(tx, [outgoing(event, key=str(user_id))])
    return True


async def claim(tx: Tx, account: AccountView, *, contact: str, epoch: int | None = None) -> bool:
    """`prove` for somebody who has shown the address alone; whether the account is theirs now.

    If so, machine clients, links to providers and second factors have ended, and, by event,
    webhooks and devices. The caller, who holds the lock on the user's factors, ends the sessions
    and replaces the password in the same transaction.
    """
    if not await prove(tx, account.user_id, contact=contact, epoch=epoch):
        return False
    user_id = account.user_id
    await forget_clients(tx, user_id=user_id)
    await end_links(tx, user_id=user_id)
    # Nobody but their employer named the email of staff: a mailbox does not end their factors.
    if _USUAL.issuperset(account.roles):
        await end_factors(tx, user_id=user_id)
    if contact == "email":
        # Whoever registered named the phone; the email, which resets passwords, is the stronger.
        await credentials.doubt_phone(tx, user_id)
    event = AccountReclaimed(user_id=user_id, reclaimed_at=await database_time(tx))
    await append(tx, [outgoing(event, key=str(user_id))])
    return True
