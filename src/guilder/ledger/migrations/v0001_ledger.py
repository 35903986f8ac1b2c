"""The ledger: accounts, transactions, entries, holds, controls, and the views of an auditor.

Entries and transactions are append-only: the application may only read and insert them, and a
trigger refuses changes to whoever may. There are no foreign keys on them; `guilder verify` checks
what they would (decision 0007).
"""

from alembic import op

revision = "v0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables, their guards, the grants and the views."""
    op.execute(_TABLES)
    op.execute(_GUARDS)
    op.execute(_GRANTS)
    op.execute(_VIEWS)


def downgrade() -> None:
    """Drop it all; there is no way back for money that was recorded."""
    op.execute("""
        DROP VIEW check_v1.accounts, check_v1.transactions, check_v1.entries, check_v1.holds,
            check_v1.controls;
        DROP TABLE ledger.entries, ledger.transactions, ledger.floor_changes, ledger.holds,
            ledger.controls, ledger.verified_heads, ledger.accounts;
        DROP FUNCTION ledger.refuse_change(), ledger.refuse_change_of_ended_hold();
    """)


_TABLES = """
    CREATE TABLE ledger.accounts (
        id uuid PRIMARY KEY,
        owner_id uuid,
        code text NOT NULL,
        type text NOT NULL CHECK (type IN ('asset', 'liability', 'equity', 'income', 'expense')),
        currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
        posted_debits bigint NOT NULL DEFAULT 0 CHECK (posted_debits >= 0),
        posted_credits bigint NOT NULL DEFAULT 0 CHECK (posted_credits >= 0),
        pending_debits bigint NOT NULL DEFAULT 0 CHECK (pending_debits >= 0),
        pending_credits bigint NOT NULL DEFAULT 0 CHECK (pending_credits >= 0),
        floor_minor bigint,
        status text NOT NULL CHECK (status IN ('open', 'frozen_debits', 'frozen', 'closed')),
        sequence bigint NOT NULL DEFAULT 0,
        last_hash bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),
        moved_at timestamptz,
        created_at timestamptz NOT NULL,
        seal bytea NOT NULL,
        CONSTRAINT accounts_stay_above_their_floor CHECK (
            floor_minor IS NULL OR floor_minor <= CASE
                WHEN type IN ('asset', 'expense')
                THEN posted_debits - posted_credits - pending_credits
                ELSE posted_credits - posted_debits - pending_debits
            END
        )
    ) WITH (fillfactor = 50);
    CREATE INDEX accounts_by_owner ON ledger.accounts (owner_id) WHERE owner_id IS NOT NULL;
    CREATE UNIQUE INDEX platform_accounts ON ledger.accounts (code, currency)
        WHERE owner_id IS NULL;

    CREATE TABLE ledger.transactions (
        id uuid PRIMARY KEY,
        kind text NOT NULL,
        description text NOT NULL,
        metadata json NOT NULL,
        effective_at timestamptz NOT NULL,
        recorded_at timestamptz NOT NULL,
        expires_at timestamptz,
        reverses_id uuid,
        digest bytea NOT NULL
    );
    CREATE INDEX transactions_by_reversed ON ledger.transactions (reverses_id)
        WHERE reverses_id IS NOT NULL;

    CREATE TABLE ledger.entries (
        account_id uuid NOT NULL,
        sequence bigint NOT NULL,
        transaction_id uuid NOT NULL,
        amount_minor bigint NOT NULL CHECK (amount_minor <> 0),
        balance_after_minor bigint NOT NULL,
        recorded_at timestamptz NOT NULL,
        hash bytea NOT NULL,
        PRIMARY KEY (account_id, sequence)
    );
    CREATE INDEX entries_by_transaction ON ledger.entries (transaction_id);

    CREATE TABLE ledger.floor_changes (
        account_id uuid NOT NULL,
        number bigint NOT NULL,
        after_sequence bigint NOT NULL,
        previous_floor_minor bigint,
        floor_minor bigint,
        changed_at timestamptz NOT NULL,
        seal bytea NOT NULL,
        PRIMARY KEY (account_id, number)
    );

    CREATE TABLE ledger.verified_heads (
        account_id uuid PRIMARY KEY,
        sequence bigint NOT NULL,
        hash bytea NOT NULL,
        posted_debits bigint NOT NULL,
        posted_credits bigint NOT NULL
    );

    CREATE TABLE ledger.holds (
        transaction_id uuid PRIMARY KEY,
        lines json NOT NULL,
        amount_minor bigint NOT NULL CHECK (amount_minor > 0),
        posted_minor bigint NOT NULL DEFAULT 0,
        state text NOT NULL CHECK (state IN ('pending', 'posted', 'voided', 'expired')),
        expires_at timestamptz NOT NULL,
        ended_at timestamptz,
        seal bytea NOT NULL,
        CHECK (posted_minor BETWEEN 0 AND amount_minor),
        CHECK ((posted_minor > 0) = (state = 'posted')),
        CHECK ((ended_at IS NULL) = (state = 'pending'))
    );
    CREATE INDEX holds_by_expiry ON ledger.holds (expires_at) WHERE state = 'pending';

    CREATE TABLE ledger.controls (
        id uuid PRIMARY KEY,
        subject_id uuid NOT NULL,
        currency text NOT NULL,
        direction text NOT NULL CHECK (direction IN ('outflow', 'inflow')),
        kinds text[],
        per_transaction_minor bigint,
        per_day_minor bigint,
        per_month_minor bigint,
        time_zone text NOT NULL,
        day_used_minor bigint NOT NULL,
        month_used_minor bigint NOT NULL,
        created_at timestamptz NOT NULL,
        used_at timestamptz NOT NULL,
        seal bytea NOT NULL
    ) WITH (fillfactor = 50);
    CREATE INDEX controls_by_subject ON ledger.controls (subject_id);
"""

_GUARDS = """
    CREATE FUNCTION ledger.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% on %.% is refused: its rows are append-only',
            TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END $$;
    CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.entries
        FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
    CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.transactions
        FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
    CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.floor_changes
        FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

    CREATE FUNCTION ledger.refuse_change_of_ended_hold() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'hold % has ended', OLD.transaction_id
            USING ERRCODE = 'restrict_violation';
    END $$;
    CREATE TRIGGER ends_once BEFORE UPDATE ON ledger.holds
        FOR EACH ROW WHEN (OLD.state <> 'pending')
        EXECUTE FUNCTION ledger.refuse_change_of_ended_hold();
    CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON ledger.holds
        FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
    CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON ledger.controls
        FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
    CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON ledger.accounts
        FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
"""

_GRANTS = """
    GRANT SELECT, INSERT ON ledger.transactions, ledger.entries, ledger.floor_changes
        TO guilder_ledger;
    GRANT SELECT, INSERT ON ledger.accounts, ledger.holds, ledger.controls TO guilder_ledger;
    GRANT UPDATE (posted_debits, posted_credits, pending_debits, pending_credits, floor_minor,
        status, sequence, last_hash, moved_at, seal) ON ledger.accounts TO guilder_ledger;
    GRANT UPDATE (posted_minor, state, ended_at, seal) ON ledger.holds TO guilder_ledger;
    GRANT UPDATE (per_transaction_minor, per_day_minor, per_month_minor, time_zone, kinds,
        day_used_minor, month_used_minor, used_at, seal) ON ledger.controls TO guilder_ledger;
    GRANT SELECT, INSERT, UPDATE ON ledger.verified_heads TO guilder_ledger;
"""

_VIEWS = """
    CREATE VIEW check_v1.accounts AS
        SELECT id, owner_id, code, type, currency,
            posted_debits AS posted_debits_minor, posted_credits AS posted_credits_minor,
            pending_debits AS pending_debits_minor, pending_credits AS pending_credits_minor,
            CASE WHEN type IN ('asset', 'expense') THEN posted_debits - posted_credits
                ELSE posted_credits - posted_debits END AS balance_minor,
            floor_minor, status, sequence AS last_sequence
        FROM ledger.accounts;
    CREATE VIEW check_v1.transactions AS
        SELECT t.id, t.kind, COALESCE(h.state, 'posted') AS state, t.effective_at, t.recorded_at,
            t.reverses_id
        FROM ledger.transactions t LEFT JOIN ledger.holds h ON h.transaction_id = t.id;
    CREATE VIEW check_v1.entries AS
        SELECT e.account_id, e.sequence, e.transaction_id, a.currency, e.amount_minor,
            e.balance_after_minor, e.hash
        FROM ledger.entries e JOIN ledger.accounts a ON a.id = e.account_id;
    CREATE VIEW check_v1.holds AS
        SELECT transaction_id, amount_minor, posted_minor, state, expires_at FROM ledger.holds;
    CREATE VIEW check_v1.controls AS
        SELECT id, subject_id, currency, direction, kinds, per_transaction_minor, per_day_minor,
            per_month_minor, time_zone, day_used_minor, month_used_minor, used_at
        FROM ledger.controls;
"""
