"""Wallets on a real PostgreSQL."""
