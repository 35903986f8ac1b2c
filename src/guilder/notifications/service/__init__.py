"""Use cases of notifications, one file each."""
