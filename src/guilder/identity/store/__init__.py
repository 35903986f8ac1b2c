"""SQL of identity, by table."""
