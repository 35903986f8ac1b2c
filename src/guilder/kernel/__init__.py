"""Words every context shares: money, currencies, identifiers, time, refusals.

Standard library only. Nothing in here reads a clock, a file or the network, so all of it can be
reasoned about alone.
"""
