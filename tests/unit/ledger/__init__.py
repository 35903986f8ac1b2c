"""The ledger's pure core."""
