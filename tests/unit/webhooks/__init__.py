"""Decisions of webhooks."""
