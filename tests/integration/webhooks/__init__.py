"""Webhooks on a real PostgreSQL, with real receivers."""
