"""Brings events from the outbox to subscribers, each effect once, in the order of each key.

A subscriber's effect and the record of how far its group has come are one commit. A group has a
position in each of eight partitions of the keys, so several workers can feed it at once. An event
that cannot be heard is parked and tried again; what follows it on its key waits, nothing else.
"""

from guilder.platform.bus.feeding import Bus
from guilder.platform.bus.subscription import Event, Start, Subscription

__all__ = ["Bus", "Event", "Start", "Subscription"]
