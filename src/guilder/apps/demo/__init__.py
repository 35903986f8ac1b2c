"""The demonstration: invented people and businesses, and a few months of what they paid each other.

Everything goes through the use cases that customers call, so the ledger is whole afterwards.
"""
