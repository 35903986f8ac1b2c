"""SQL of audit, and the files of published heads and of erasures."""
