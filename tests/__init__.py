"""Tests of Guilder."""
