"""Jobs on a real PostgreSQL: enqueued, due, repeated, taken over, fenced."""
