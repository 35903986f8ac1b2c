"""Schema of webhooks, one numbered revision after the other."""
