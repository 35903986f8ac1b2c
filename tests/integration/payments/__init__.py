"""Payments on a real PostgreSQL, from several connections and processes."""
