"""Use cases of identity. They alone open transactions."""
