"""Tests of audit on a real PostgreSQL."""
