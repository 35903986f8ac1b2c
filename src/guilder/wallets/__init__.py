"""What a customer holds: wallets, each one a ledger account seen by its owner.

Glossary
    wallet: a customer's money in one currency. It has the id of its ledger account: one id, two
        views. The ledger knows what is in it, this context whose it is and what may be done to it.
    default wallet: the one made at sign-up, which a payment to a person goes to.
    pending: opened and not yet activated; frozen: by its owner or by staff; closed: for good.
    starting limits: the controls of an owner nobody has verified yet.

Invariants
    A wallet that is not active has a ledger account that takes no entries, so a payment that holds
    the account's lock never needs to ask here.
    An owner has at most one default wallet in a currency.
    Only an empty wallet closes, and a closed one never opens again.
"""
