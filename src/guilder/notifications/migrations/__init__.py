"""The schema of notifications, as plain SQL."""
