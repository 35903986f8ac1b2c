"""The double-entry ledger: the only writer of money.

Glossary
    account: a line of the chart of accounts, in one currency, with a normal side.
    entry: one signed change of one account; debit positive, credit negative.
    transaction: two or more entries that sum to zero in each currency. Never changed once written.
    posted: counted in the balance. pending: reserved by a hold, not yet in the balance.
    hold: a pending transaction, which ends once: posted (in full or in part), voided or expired.
    reversal: a transaction that undoes another in full or in part, and names it.
    floor: the lowest balance an account may have, holds included; none means no limit.
    control: a limit on what may leave or enter, enforced inside the posting transaction.
    book: the accounts and controls that one database transaction holds locked.
    chain: an account's entries, each hashed together with the hash of the one before.

Invariants
    Each transaction sums to zero in each currency, and so does the whole ledger.
    An account's sums equal its entries, and its pending sums equal its open holds.
    No account is below its floor at any prefix of its entries, pending outflow included.
    Sequences have no gaps; chains cover every meaningful column; entries are never changed.
"""
