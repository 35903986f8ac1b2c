"""Bugs for the money core, each a small replacement in its source, and a copy that has one.

A bug that its place has lost is no bug any more, so it has to be found exactly once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

import guilder

SOURCE: Final = Path(guilder.__file__).parent


class Bug(NamedTuple):
    """``replaced`` by ``wrong`` in the file ``place``, and what that does."""

    what: str
    place: str
    replaced: str
    wrong: str


def copy_with(bug: Bug, *, folder: Path) -> Path:
    """Make a copy of the source that has the bug; what is beside its file is linked."""
    original, copied = SOURCE, folder / SOURCE.name
    for part in Path(bug.place).parts:
        copied.mkdir()
        for sibling in original.iterdir():
            # what Python has compiled is of the file as it was
            if sibling.name not in {part, "__pycache__"}:
                (copied / sibling.name).symlink_to(sibling)
        original, copied = original / part, copied / part
    text = original.read_text()
    found = text.count(bug.replaced)
    assert found == 1, f"{bug.what}: {bug.place} has {bug.replaced!r} {found} times"
    copied.write_text(text.replace(bug.replaced, bug.wrong))
    return folder


BUGS: Final = (
    Bug(
        "a credit is subtracted",
        "ledger/domain/book.py",
        "account.posted_credits -= sign * amount_minor",
        "account.posted_credits += sign * amount_minor",
    ),
    Bug(
        "money flows from whom it is for to whom it is from",
        "payments/domain.py",
        "EntryDraft(source, order.amount_minor),\n"
        "                EntryDraft(destination, -order.amount_minor),",
        "EntryDraft(source, -order.amount_minor),\n"
        "                EntryDraft(destination, order.amount_minor),",
    ),
    Bug(
        "what is held can be spent",
        "ledger/domain/book.py",
        "account.available_minor + flow < floor_minor",
        "account.balance_minor + flow < floor_minor",
    ),
    Bug(
        "a minor unit too much can be spent",
        "ledger/domain/book.py",
        "account.available_minor + flow < floor_minor",
        "account.available_minor + flow < floor_minor - 1",
    ),
    Bug(
        "a hold is counted twice",
        "ledger/domain/book.py",
        "_add_pending(account, amount_minor, sign=1)",
        "_add_pending(account, amount_minor, sign=2)",
    ),
    Bug(
        "a hold that is posted releases nothing",
        "ledger/domain/book.py",
        "        self._release(held)\n        part = ",
        "        part = ",
    ),
    Bug(
        "a hold that is posted in part gives no allowance back",
        "ledger/domain/book.py",
        "        self._give_back(hold.kind, rest, hold.recorded_at)\n",
        "",
    ),
    Bug(
        "a hold that is let go gives no allowance back",
        "ledger/domain/book.py",
        "        self._give_back(hold.kind, held, hold.recorded_at)\n",
        "",
    ),
    Bug(
        "a hold can be posted after its time",
        "ledger/domain/holds.py",
        "if now >= hold.expires_at:",
        "if False:",
    ),
    Bug(
        "a hold can be posted with more than it holds",
        "ledger/domain/holds.py",
        "0 < amount_minor <= hold.amount_minor",
        "0 < amount_minor",
    ),
    Bug(
        "holds expire before they are due",
        "ledger/store/holds.py",
        "state = 'pending' AND expires_at <= $1 ",
        "state = 'pending' AND expires_at <= $1::timestamptz + interval '2 hours' ",
    ),
    Bug(
        "a reversal knows nothing of those before it",
        "ledger/store/transactions.py",
        'reversing=reversing.get(row["id"], ())',
        "reversing=()",
    ),
    Bug(
        "an allowance counts the first of a batch alone",
        "ledger/domain/book.py",
        "        for control, amount_minor in charges:\n            control.use(",
        "        for control, amount_minor in charges[: len(self.transactions) < 2]:\n"
        "            control.use(",
    ),
    Bug(
        "an allowance has no new day",
        "ledger/domain/controls.py",
        "if self.used_at < day_began_at:",
        "if self.used_at < month_began_at:",
    ),
    Bug(
        "an allowance cannot be used to its end",
        "ledger/domain/controls.py",
        "used + amount_minor > limit:",
        "used + amount_minor >= limit:",
    ),
    Bug(
        "the allowances of a refused group stay used",
        "ledger/domain/book.py",
        "                self._controls.restore(controls)\n",
        "",
    ),
    Bug(
        "the accounts of a refused group stay changed",
        "ledger/domain/book.py",
        "                self._accounts.update(accounts)\n",
        "",
    ),
    Bug(
        "what a refused posting began is not undone",
        "ledger/domain/book.py",
        "_add_posted(done, undone_minor, sign=-1)",
        "_add_posted(done, undone_minor, sign=0)",
    ),
    Bug(
        "a key is forgotten after two hours",
        "payments/domain.py",
        "KEY_LIFETIME: Final = timedelta(hours=24)",
        "KEY_LIFETIME: Final = timedelta(hours=2)",
    ),
    Bug(
        "a key serves another amount",
        "payments/domain.py",
        '            ("amount", order.amount_minor, known.order.amount_minor),\n',
        "",
    ),
    Bug(
        "a key that another process has just taken is taken again",
        "payments/store/records.py",
        "COALESCE(failure_code, status), $2 FROM made\n",
        "COALESCE(failure_code, status), $2 FROM made\n"
        "ON CONFLICT (owner_id, key) DO UPDATE SET transaction_id = excluded.transaction_id\n",
    ),
    Bug(
        "a refused payment is kept as completed",
        "payments/domain.py",
        "PaymentStatus.FAILED if failure else PaymentStatus.COMPLETED",
        "PaymentStatus.COMPLETED",
    ),
    Bug(
        "the key of a refused payment is claimed without the payment",
        "payments/store/records.py",
        "effective_at, seal\n        FROM made\n",
        "effective_at, seal\n        FROM made WHERE failure_code IS NULL\n",
    ),
    Bug(
        "somebody else's wallet can be paid from",
        "payments/domain.py",
        "        if source.owner_id != order.caller_id:\n",
        "        if False:\n",
    ),
    Bug(
        "the currency of a payment is not compared",
        "payments/domain.py",
        "if wallet is not None and wallet.currency is not order.currency:",
        "if False:",
    ),
    Bug(
        "a frozen wallet pays",
        "wallets/service.py",
        "WalletStatus.FROZEN: AccountStatus.FROZEN,",
        "WalletStatus.FROZEN: AccountStatus.OPEN,",
    ),
    Bug(
        "a closed account receives",
        "ledger/domain/book.py",
        "if status is AccountStatus.CLOSED:",
        "if status is AccountStatus.CLOSED and _flow(account, amount_minor) < 0:",
    ),
    Bug(
        "an account with money is closed",
        "ledger/service/posting.py",
        "if status is AccountStatus.CLOSED and not is_empty:",
        "if status is AccountStatus.CLOSED and account.held_minor:",
    ),
    Bug(
        "a sequence has gaps",
        "ledger/domain/book.py",
        "account.sequence += 1",
        "account.sequence += 2",
    ),
    Bug(
        "a hash skips the amount",
        "ledger/domain/chain.py",
        "            amount_minor,\n            balance_after_minor,\n",
        "            0,\n            balance_after_minor,\n",
    ),
    Bug(
        "no event tells of a refused payment",
        "payments/service/engine.py",
        "[_event(payment) for payment in made]",
        "[_event(payment) for payment in made if payment.failure is None]",
    ),
    Bug(
        "accounts are read without their locks",
        "ledger/store/books.py",
        "WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE\n",
        "WHERE id = ANY($1::uuid[]) ORDER BY id\n",
    ),
    Bug(
        "allowances are read without their locks",
        "ledger/store/controls.py",
        "SELECT {_COLUMNS} {_MOVED} ORDER BY id FOR NO KEY UPDATE\n",
        "SELECT {_COLUMNS} {_MOVED} ORDER BY id\n",
    ),
)
