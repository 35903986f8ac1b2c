"""Guilder: a digital-wallet and banking platform on one verified double-entry ledger."""

__version__ = "0.1.0"
