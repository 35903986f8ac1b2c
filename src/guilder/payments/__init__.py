"""Payments: deposits, withdrawals and transfers, as customers make them.

Glossary
    payment: a customer's order to move money, and the record of what became of it. Its id is the
        id of the ledger transaction that moved the money.
    deposit, top-up: money from outside into a wallet. withdrawal: the other way.
    transfer: money from one wallet to another in the same currency.
    funding: where money from outside comes from: a settlement account of the ledger.
    high transfer: one above the limit of its currency, made only with the token of a verification.
    key: what a caller names an operation with; repeating it repeats the answer, not the effect.
    claim: a key that was used in the last 24 hours, and the payment it belongs to.

Invariants
    A payment, its ledger entries, its claim and its event are one commit.
    A high transfer has spent a token made for it, in the commit that moved its money.
    A claim has exactly one payment; the same key with another payload is refused.
    A payment that was refused while its wallets were locked is kept as failed, with its reason.
"""
