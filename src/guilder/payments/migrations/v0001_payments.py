"""Payments as customers see them, and the keys that make repeating them safe."""

from alembic import op

revision = "v0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create payments, claims on idempotency keys, grants and the auditor's view."""
    op.execute("""
        CREATE TABLE payments.transactions (
            id uuid PRIMARY KEY,
            type text NOT NULL,
            status text NOT NULL CHECK (status IN ('completed', 'failed')),
            owner_id uuid NOT NULL,
            from_wallet_id uuid,
            to_wallet_id uuid,
            amount_minor bigint NOT NULL CHECK (amount_minor > 0),
            currency text NOT NULL,
            description text NOT NULL,
            idempotency_key text NOT NULL,
            failure_code text,
            failure_message text,
            failure_details json,
            created_at timestamptz NOT NULL,
            seal bytea NOT NULL,
            CHECK ((failure_code IS NOT NULL) = (status = 'failed'))
        );
        CREATE INDEX transactions_by_source ON payments.transactions (from_wallet_id, id)
            WHERE from_wallet_id IS NOT NULL;
        CREATE INDEX transactions_by_destination ON payments.transactions (to_wallet_id, id)
            WHERE to_wallet_id IS NOT NULL;

        CREATE TABLE payments.idempotency (
            owner_id uuid NOT NULL,
            key text NOT NULL,
            fingerprint bytea NOT NULL,
            transaction_id uuid NOT NULL,
            outcome text NOT NULL,
            created_at timestamptz NOT NULL,
            PRIMARY KEY (owner_id, key)
        );
        CREATE INDEX idempotency_by_time ON payments.idempotency USING brin (created_at);

        CREATE FUNCTION payments.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% on %.% is refused: its rows are append-only',
                TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
        END $$;
        CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payments.transactions
            FOR EACH STATEMENT EXECUTE FUNCTION payments.refuse_change();

        GRANT SELECT, INSERT ON payments.transactions TO guilder_payments;
        GRANT SELECT, INSERT, UPDATE, DELETE ON payments.idempotency TO guilder_payments;

        CREATE VIEW check_v1.idempotency AS
            SELECT owner_id, key, transaction_id, outcome, created_at FROM payments.idempotency;
    """)


def downgrade() -> None:
    """Drop the records; what they moved stays in the ledger."""
    op.execute("""
        DROP VIEW check_v1.idempotency;
        DROP TABLE payments.idempotency, payments.transactions;
        DROP FUNCTION payments.refuse_change();
    """)
