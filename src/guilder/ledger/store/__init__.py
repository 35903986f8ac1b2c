"""The ledger's SQL. Everything runs inside a transaction that somebody else opened."""
