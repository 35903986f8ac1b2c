"""What must be true of payments: sealed, posted as they say, claimed and told exactly once.

The money core is one database, so a payment is compared here with the rows of the ledger, of
wallets and of the outbox that its commit wrote. Fingerprints and seals are computed by PostgreSQL
itself, apart from the code that wrote them.
"""

from __future__ import annotations

from typing import Final

from guilder.identity.api.verifications import Operation
from guilder.kernel.currencies import CURRENCIES
from guilder.payments.api import PaymentType
from guilder.payments.domain import KEPT_REFUSALS, KEY_LIFETIME
from guilder.payments.events import TransactionCompleted, TransactionFailed
from guilder.platform.checks import Check, sql_check

_NO_ID: Final = "decode(repeat('00', 16), 'hex')"
_KINDS: Final = ", ".join(f"'{type_.value}'" for type_ in PaymentType)
_REASONS: Final = ", ".join(f"'{code}'" for code in sorted(KEPT_REFUSALS))
_A_DAY: Final = f"interval '{int(KEY_LIFETIME.total_seconds())} seconds'"


def _sized(column: str) -> str:
    return (
        f"COALESCE(int4send(octet_length(convert_to({column}, 'UTF8'))) "
        f"|| convert_to({column}, 'UTF8'), int4send(-1))"
    )


_FINGERPRINT: Final = f"""sha256(
    COALESCE(uuid_send(p.from_wallet_id), {_NO_ID}) || COALESCE(uuid_send(p.to_wallet_id), {_NO_ID})
    || int8send(p.amount_minor) || convert_to(p.currency, 'UTF8')
    || {_sized("p.type")} || {_sized("p.description")})"""
_SEAL: Final = f"""sha256(
    uuid_send(p.id) || uuid_send(p.owner_id) || int8send(platform.epoch_us(p.created_at))
    || {_FINGERPRINT} || {_sized("p.status")} || {_sized("p.idempotency_key")}
    || {_sized("p.failure_code")} || {_sized("p.failure_message")}
    || {_sized("p.failure_details::text")}
    || COALESCE(int8send(platform.epoch_us(p.effective_at)), ''::bytea))"""
"""Both as `guilder.payments.store.seals` lays them out."""

_SEALS: Final = f"""
    SELECT p.id::text AS row, 'its seal does not match its columns' AS detail
    FROM payments.transactions p WHERE p.seal <> {_SEAL}
"""
_SHAPES: Final = """
    SELECT p.id::text AS row,
        CASE WHEN p.type NOT IN ('deposit', 'topup', 'withdrawal', 'transfer')
                THEN 'there is no such type of payment'
            WHEN s.id IS NULL AND p.from_wallet_id IS NOT NULL
              OR d.id IS NULL AND p.to_wallet_id IS NOT NULL THEN 'a wallet of it does not exist'
            WHEN COALESCE(s.owner_id, d.owner_id) <> p.owner_id
                THEN 'the wallet it begins at is somebody else''s'
            WHEN s.currency <> p.currency OR d.currency <> p.currency
                THEN 'a wallet of it has another currency'
            ELSE 'its wallets are not those of its type' END AS detail
    FROM payments.transactions p
    LEFT JOIN wallets.wallets s ON s.id = p.from_wallet_id
    LEFT JOIN wallets.wallets d ON d.id = p.to_wallet_id
    WHERE NOT CASE p.type
            WHEN 'transfer' THEN p.from_wallet_id IS NOT NULL AND p.to_wallet_id IS NOT NULL
                AND p.from_wallet_id <> p.to_wallet_id
            WHEN 'withdrawal' THEN p.from_wallet_id IS NOT NULL AND p.to_wallet_id IS NULL
            WHEN 'deposit' THEN p.from_wallet_id IS NULL AND p.to_wallet_id IS NOT NULL
            WHEN 'topup' THEN p.from_wallet_id IS NULL AND p.to_wallet_id IS NOT NULL
            ELSE false END
       OR (s.id IS NULL) <> (p.from_wallet_id IS NULL)
       OR (d.id IS NULL) <> (p.to_wallet_id IS NULL)
       OR COALESCE(s.owner_id, d.owner_id) IS DISTINCT FROM p.owner_id
       OR s.currency <> p.currency OR d.currency <> p.currency
"""
_FAILURES: Final = f"""
    SELECT p.id::text AS row, format('there is no such reason as %s', p.failure_code) AS detail
    FROM payments.transactions p WHERE p.failure_code NOT IN ({_REASONS})
"""
_POSTED: Final = """
    SELECT p.id::text AS row,
        CASE WHEN t.id IS NULL THEN 'it is completed and was never posted'
            WHEN p.status <> 'completed' THEN 'it failed and was posted'
            ELSE 'it was posted as another kind, with another text or at another time'
        END AS detail
    FROM payments.transactions p LEFT JOIN ledger.transactions t ON t.id = p.id
    WHERE (t.id IS NOT NULL) <> (p.status = 'completed')
       OR t.kind <> p.type OR t.description <> p.description OR t.recorded_at <> p.created_at
       OR t.effective_at <> COALESCE(p.effective_at, p.created_at)
       OR t.expires_at IS NOT NULL OR t.reverses_id IS NOT NULL
"""
_ORDERED: Final = f"""
    SELECT t.id::text AS row, format('a %s was posted that nobody ordered', t.kind) AS detail
    FROM ledger.transactions t
    WHERE t.kind IN ({_KINDS})
      AND NOT EXISTS (SELECT FROM payments.transactions p WHERE p.id = t.id)
      AND EXISTS (
        SELECT FROM ledger.entries e JOIN wallets.wallets w ON w.id = e.account_id
        WHERE e.transaction_id = t.id)
"""
_ENTRIES: Final = """
    WITH posted AS (
        SELECT e.transaction_id, count(*) AS entries,
            max(e.amount_minor) AS debit, -min(e.amount_minor) AS credit,
            (array_agg(e.account_id ORDER BY e.amount_minor DESC))[1] AS source,
            (array_agg(e.account_id ORDER BY e.amount_minor))[1] AS destination
        FROM ledger.entries e GROUP BY e.transaction_id
    )
    SELECT p.id::text AS row,
        format('%s %s from %s to %s; its %s entries: debit %s from %s, credit %s to %s',
            p.amount_minor, p.currency, COALESCE(p.from_wallet_id::text, 'outside'),
            COALESCE(p.to_wallet_id::text, 'outside'), COALESCE(e.entries, 0), e.debit,
            COALESCE(s.owner_id::text, s.code), e.credit, COALESCE(d.owner_id::text, d.code))
            AS detail
    FROM payments.transactions p
    LEFT JOIN posted e ON e.transaction_id = p.id
    LEFT JOIN ledger.accounts s ON s.id = e.source
    LEFT JOIN ledger.accounts d ON d.id = e.destination
    WHERE CASE WHEN p.status = 'completed' THEN
            e.entries IS DISTINCT FROM 2
            OR e.debit <> p.amount_minor OR e.credit <> p.amount_minor
            OR s.currency IS DISTINCT FROM p.currency OR d.currency IS DISTINCT FROM p.currency
            OR CASE WHEN p.from_wallet_id IS NULL
                THEN s.owner_id IS NOT NULL OR s.code NOT LIKE 'settlement.%'
                ELSE e.source <> p.from_wallet_id END
            OR CASE WHEN p.to_wallet_id IS NULL
                THEN d.owner_id IS NOT NULL OR d.code NOT LIKE 'settlement.%'
                ELSE e.destination <> p.to_wallet_id END
        ELSE e.entries IS NOT NULL END
"""
_CLAIMS: Final = f"""
    SELECT i.owner_id || ':' || i.key AS row,
        CASE WHEN p.id IS NULL THEN 'its payment does not exist'
            WHEN (i.owner_id, i.key) <> (p.owner_id, p.idempotency_key)
                THEN 'its payment was ordered by somebody else or under another key'
            WHEN i.outcome <> COALESCE(p.failure_code, p.status)
                THEN format('it says %s of a payment that is %s', i.outcome,
                    COALESCE(p.failure_code, p.status))
            WHEN i.created_at <> p.created_at THEN 'its time is not that of its payment'
            ELSE 'its fingerprint is not that of its payment' END AS detail
    FROM payments.idempotency i LEFT JOIN payments.transactions p ON p.id = i.transaction_id
    WHERE p.id IS NULL OR (i.owner_id, i.key) <> (p.owner_id, p.idempotency_key)
       OR i.outcome <> COALESCE(p.failure_code, p.status) OR i.created_at <> p.created_at
       OR i.fingerprint <> {_FINGERPRINT}
"""
_CLAIMED: Final = f"""
    SELECT p.id::text AS row, 'its key is not claimed, and its day is not over' AS detail
    FROM payments.transactions p
    WHERE p.created_at > now() - {_A_DAY}
      AND NOT EXISTS (SELECT FROM payments.idempotency i WHERE i.transaction_id = p.id)
"""
_ONCE: Final = f"""
    SELECT id::text AS row, format('the same key was used at %s', before) AS detail
    FROM (
        SELECT id, created_at, lag(created_at) OVER (
            PARTITION BY owner_id, idempotency_key ORDER BY created_at, id) AS before
        FROM payments.transactions
    ) AS used
    WHERE created_at - before < {_A_DAY}
"""


def _in_major_units() -> str:
    """SQL for ``p.amount_minor`` as `guilder.kernel.money.format_minor` writes it."""
    cases = []
    for exponent in sorted({unit.exponent for unit in CURRENCIES.values()} - {0}):
        codes = ", ".join(f"'{c}'" for c, unit in CURRENCIES.items() if unit.exponent == exponent)
        cases.append(
            f"WHEN p.currency IN ({codes}) THEN p.amount_minor / {10**exponent} || '.' "
            f"|| lpad((p.amount_minor % {10**exponent})::text, {exponent}, '0')"
        )
    return f"CASE {' '.join(cases)} ELSE p.amount_minor::text END"


_TOLD: Final = f"""
    WITH told AS (
        SELECT id, type, key, data, data->>'transaction_id' AS payment_id,
            COALESCE(data->>'completed_at', data->>'failed_at') AS at,
            (data->>'effective_at')::timestamptz AS effective_at,
            count(*) OVER (PARTITION BY data->>'transaction_id') AS times
        FROM platform.outbox
        WHERE type IN ('{TransactionCompleted.TYPE}', '{TransactionFailed.TYPE}')
    ), due AS (
        SELECT p.id::text AS payment_id, p.created_at, p.effective_at,
            COALESCE(p.from_wallet_id, p.to_wallet_id)::text AS key,
            CASE p.status WHEN 'completed' THEN '{TransactionCompleted.TYPE}'
                ELSE '{TransactionFailed.TYPE}' END AS type,
            jsonb_build_object('transaction_id', p.id, 'transaction_type', p.type,
                'initiated_by', p.owner_id, 'from_wallet_id', p.from_wallet_id,
                'to_wallet_id', p.to_wallet_id, 'amount', {_in_major_units()},
                'currency', p.currency)
            || CASE p.status WHEN 'completed' THEN '{{}}'::jsonb
                ELSE jsonb_build_object('reason', p.failure_code) END AS data
        FROM payments.transactions p
    )
    SELECT COALESCE(due.payment_id, told.payment_id) AS row,
        CASE WHEN told.id IS NULL THEN 'no event tells of it'
            WHEN due.payment_id IS NULL THEN format('event %s tells of no payment', told.id)
            WHEN told.times > 1 THEN format('%s events tell of it', told.times)
            ELSE format('event %s tells of it wrongly', told.id) END AS detail
    FROM due FULL JOIN told ON told.payment_id = due.payment_id
    WHERE (told.id IS NULL
            AND due.created_at >= (SELECT kept_since FROM platform.outbox_retention))
       OR due.payment_id IS NULL OR told.times > 1
       OR told.type <> due.type OR told.key <> due.key
       OR told.data - 'completed_at' - 'failed_at' - 'effective_at' <> due.data
       OR told.effective_at IS DISTINCT FROM due.effective_at
       OR told.at::timestamptz IS DISTINCT FROM due.created_at
"""


def _verified(*more: str) -> str:
    """SQL for the digest of what the verification of transfer ``p`` is bound to."""
    return f"""platform.seal(v.operation,
            'amount', {_in_major_units()}, 'currency', p.currency, {"".join(more)}
            'from_wallet_id', p.from_wallet_id::text, 'to_wallet_id', p.to_wallet_id::text)"""


# Those spent before the description was bound are forgotten a day after; until then they may be so.
_VERIFIED: Final = f"""
    SELECT v.id::text AS row,
        CASE WHEN p.id IS NULL THEN 'what it was spent on is no completed transfer of its account'
            ELSE format('it was spent on another transfer than it is for, %s', p.id) END AS detail
    FROM identity.verifications v
    LEFT JOIN payments.transactions p ON p.id = v.used_by AND p.owner_id = v.account_id
        AND p.type = '{PaymentType.TRANSFER.value}' AND p.status = 'completed'
    WHERE v.operation = '{Operation.HIGH_VALUE_TRANSFER.value}' AND v.status = 'used'
        AND v.parameters IS DISTINCT FROM {_verified("'description', p.description,")}
        AND v.parameters IS DISTINCT FROM {_verified()}
"""

CHECKS: Final[tuple[Check, ...]] = (
    sql_check(
        "payment seals",
        table="payments.transactions",
        invariant="a seal covers every column of a payment",
        query=_SEALS,
    ),
    sql_check(
        "payment wallets",
        table="payments.transactions",
        invariant="a payment is its caller's, between wallets of its currency, as its type says",
        query=_SHAPES,
    ),
    sql_check(
        "payment failures",
        table="payments.transactions",
        invariant="a payment fails for a reason that payments know",
        query=_FAILURES,
    ),
    sql_check(
        "payments posted",
        table="payments.transactions",
        invariant="a payment is posted, as it says, if and only if it is completed",
        query=_POSTED,
    ),
    sql_check(
        "postings ordered",
        table="ledger.transactions",
        invariant="nothing is posted to a wallet as a payment that nobody ordered",
        query=_ORDERED,
    ),
    sql_check(
        "payment entries",
        table="payments.transactions",
        invariant="a completed payment has one debit and one credit, of its accounts and amount",
        query=_ENTRIES,
    ),
    sql_check(
        "claims",
        table="payments.idempotency",
        invariant="a claim is the key, fingerprint, outcome and time of its payment",
        query=_CLAIMS,
    ),
    sql_check(
        "claimed keys",
        table="payments.transactions",
        invariant="the key of a payment is claimed for a day",
        query=_CLAIMED,
    ),
    sql_check(
        "keys used once",
        table="payments.transactions",
        invariant="a key has one payment a day",
        query=_ONCE,
    ),
    sql_check(
        "verifications spent",
        table="identity.verifications",
        invariant="a verification that was spent on a transfer is for just that transfer",
        query=_VERIFIED,
    ),
    sql_check(
        "payment events",
        table="platform.outbox",
        invariant="exactly one event tells of each payment, as it is",
        query=_TOLD,
    ),
)
