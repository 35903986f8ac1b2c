"""Who may join staff: somebody who is not frozen, and whose email was proved to be theirs.

Anybody registers with the email of somebody else, and may wait there until its owner is given a
role. Whoever proves an email that nobody had proved ends what a stranger attached to the account
(`guilder.identity.service.first_proofs`), so nothing of a stranger's joins with them.
"""

from __future__ import annotations

from typing import Final

from guilder.identity.api import AccountType, AccountView

_FROZEN: Final = "frozen"


def hindrance(account: AccountView) -> str | None:
    """Why a user cannot join staff now, said of their email; None: they can.

    The email of an account that was made for staff was named by whoever made it.
    """
    if account.status == _FROZEN:
        return "is a frozen user's"
    if account.account_type is not AccountType.STAFF and not account.email_verified:
        return (
            "is a user's who has not proved that it is theirs; let them do so, "
            "by setting a new password (/auth/forgot)"
        )
    return None
