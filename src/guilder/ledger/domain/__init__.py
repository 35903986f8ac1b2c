"""Pure decisions of the ledger: what may be posted, what it changes, how it is chained."""
