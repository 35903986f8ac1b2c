"""Routes of identity, by subject."""
