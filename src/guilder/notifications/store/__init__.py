"""SQL of notifications, one file for each kind of thing."""
