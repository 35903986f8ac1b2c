"""Who did what to what, when: one record for every event and every denied attempt, for good.

Glossary
    record: one event as audit keeps it. It has the event's id.
    action: what was done, the event's type without its prefix: ``transaction.completed``.
    actor: the account that did it; none for what Guilder does by itself.
    subject: what it was done to. key: whose order the event kept, where that is something else.
    denial: a request that was refused because of who sent it.
    chain: records in a row, each hashed together with the one before it. There are several, so
        that partitions of the bus need not wait for each other.
    head: the last record of a chain, or the last entry of a ledger account.
    publication: a signed statement of all heads, in a folder outside the database.
    person: whoever personal data is about. It is encrypted with a key of theirs alone.
    erasure: that key is destroyed; the records stay, and so do their hashes.

Invariants
    An event has exactly one record, whatever was killed and however often it was delivered.
    A record is never updated or deleted; its hash covers every column, the encrypted ones as they
    are stored.
    A published head stays a prefix of what is stored.
    Whoever is erased stays erased, also in a database that was restored from a backup.
"""
