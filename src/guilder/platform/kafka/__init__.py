"""The bus over Kafka: a relay sends every event, and the same subscriptions hear from there.

It needs the extra ``kafka``. An event is sent at least once and heard once: a group records the
events it has heard in the transaction of their effect.
"""
