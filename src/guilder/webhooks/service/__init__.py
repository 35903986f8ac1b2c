"""Use cases of webhooks: the only place of the context that opens transactions."""
