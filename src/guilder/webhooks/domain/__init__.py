"""Decisions of webhooks: who may hear of what, and what follows from an answer."""
