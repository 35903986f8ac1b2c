"""Faults injected into real server processes, and what has to be true afterwards."""
