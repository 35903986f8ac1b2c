"""Records hashed anew with the ones before them, chains, and the keys of persons."""

from __future__ import annotations

from typing import Final

from guilder.platform.checks import sql_check


def _sized(value: str) -> str:
    return f"COALESCE(int4send(octet_length({value})) || {value}, int4send(-1))"


def _text(column: str) -> str:
    return _sized(f"convert_to({column}, 'UTF8')")


_GENESIS: Final = "decode(repeat('00', 32), 'hex')"
_HASH: Final = f"""sha256(
    COALESCE(r.previous, {_GENESIS}) || int8send(r.chain::bigint) || int8send(r.sequence)
    || uuid_send(r.event_id) || int8send(platform.epoch_us(r.created_at))
    || int8send(platform.epoch_us(r.recorded_at)) || {_sized("uuid_send(r.actor_id)")}
    || {_text("r.action")} || {_text("r.subject")} || {_text("r.key")} || {_text("r.request_id")}
    || {_text("r.trace_id")} || {_text("r.before::text")} || {_text("r.after::text")}
    || {_text("r.details::text")} || {_sized("uuid_send(r.person_id)")}
    || {_sized("r.personal")})"""
"""The hash of record ``r``, as `guilder.audit.domain` lays it out."""

_CHAINS: Final = f"""
    WITH placed AS (
        SELECT r.*, lag(r.hash) OVER w AS previous, lag(r.sequence) OVER w AS previous_sequence
        FROM audit.records r WINDOW w AS (PARTITION BY r.chain ORDER BY r.sequence)
    ), linked AS (
        SELECT r.chain, r.sequence, r.hash, {_HASH} AS expected,
            r.sequence <> COALESCE(r.previous_sequence, 0) + 1 AS is_gap
        FROM placed r
    )
    SELECT chain || ':' || sequence AS row,
        concat_ws('; ', CASE WHEN hash <> expected THEN 'its hash does not match' END,
            CASE WHEN is_gap THEN 'its sequence does not follow the one before' END) AS detail
    FROM linked WHERE hash IS DISTINCT FROM expected OR is_gap
"""
_ENDS: Final = f"""
    WITH ends AS (
        SELECT DISTINCT ON (chain) chain, sequence, hash FROM audit.records
        ORDER BY chain, sequence DESC
    )
    SELECT COALESCE(c.chain, e.chain)::text AS row,
        format('it says it ends at %s; its last record is %s', c.sequence, e.sequence) AS detail
    FROM audit.chains c FULL JOIN ends e ON e.chain = c.chain
    WHERE c.chain IS NULL OR c.sequence <> COALESCE(e.sequence, 0)
       OR c.hash <> COALESCE(e.hash, {_GENESIS})
       OR c.chain NOT BETWEEN 1 AND (SELECT count(*) FROM audit.chains)
"""
_TOLD: Final = r"""
    SELECT r.event_id::text AS row, 'it does not say what its event said' AS detail
    FROM audit.records r JOIN platform.outbox o ON o.id = r.event_id
    WHERE r.action <> regexp_replace(o.type, '^com\.guilder\.', '') OR r.key <> o.key
       OR r.created_at <> o.created_at OR r.actor_id IS DISTINCT FROM o.actor_id
       OR r.request_id IS DISTINCT FROM o.request_id OR r.trace_id IS DISTINCT FROM o.trace_id
"""
# By the bus of PostgreSQL what stands before a position is heard; by Kafka, what is noted as heard.
# A group that went over to Kafka keeps the position it had come to.
_HEARD: Final = """
    WITH heard AS (
        SELECT o.id, o.type FROM platform.outbox o
        JOIN platform.consumer_positions p ON p.group_name = 'audit.records'
            AND p.partition = platform.partition_of(o.key)
        WHERE (o.transaction, o.position) <= (p.transaction, p.position)
        UNION
        SELECT h.event_id, COALESCE(o.type, 'an old event')
        FROM platform.heard_events h LEFT JOIN platform.outbox o ON o.id = h.event_id
        WHERE h.group_name = 'audit.records'
    )
    SELECT h.id::text AS row, format('%s was heard and has no record', h.type) AS detail
    FROM heard h
    WHERE NOT EXISTS (SELECT FROM audit.records r WHERE r.event_id = h.id)
      AND NOT EXISTS (SELECT FROM platform.parked_events e
          WHERE e.group_name = 'audit.records' AND e.id = h.id)
"""
_KEYS: Final = f"""
    SELECT k.person_id::text AS row, 'its seal does not match its columns' AS detail
    FROM audit.data_keys k
    WHERE k.seal <> sha256(uuid_send(k.person_id) || uuid_send(k.id)
        || int8send(platform.epoch_us(k.created_at))
        || COALESCE(int8send(platform.epoch_us(k.erased_at)), int8send(-1))
        || {_sized("k.wrapped")})
"""
_OWNERS: Final = """
    SELECT r.event_id::text AS row,
        CASE WHEN r.person_id IS NULL THEN 'nobody is named whose the personal data is'
            ELSE 'its person does not have the key it is encrypted with' END AS detail
    FROM audit.records r LEFT JOIN audit.data_keys k ON k.person_id = r.person_id
    WHERE r.personal IS NOT NULL
      AND (k.person_id IS NULL OR substring(r.personal FROM 2 FOR 16) <> uuid_send(k.id))
"""

CHECKS: Final = (
    sql_check(
        "audit chains",
        table="audit.records",
        invariant="each record follows the one before it in its chain: hash and sequence",
        query=_CHAINS,
    ),
    sql_check(
        "audit ends",
        table="audit.chains",
        invariant="a chain ends where it says, with the hash of its last record",
        query=_ENDS,
    ),
    sql_check(
        "audit events",
        table="audit.records",
        invariant="a record says what its event said",
        query=_TOLD,
    ),
    sql_check(
        "audit completeness",
        table="audit.records",
        invariant="every event that audit has heard has a record",
        query=_HEARD,
    ),
    sql_check(
        "audit keys",
        table="audit.data_keys",
        invariant="a seal covers every column of a person's key",
        query=_KEYS,
    ),
    sql_check(
        "audit persons",
        table="audit.records",
        invariant="personal data is encrypted with the key of its person",
        query=_OWNERS,
    ),
)
