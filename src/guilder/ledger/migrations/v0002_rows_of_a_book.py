"""The rows of a book as types, so that a batch sends each of them as one value.

An array of them is cheaper for both sides than an array for each column: the driver looks at every
element to see whether it is an array itself, and the server reads each column apart.
"""

from alembic import op

revision = "v0002"
down_revision = "v0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the types. A statement that needs another row gets another type, beside these."""
    op.execute("""
        CREATE TYPE ledger.new_transaction AS (
            id uuid,
            kind text,
            description text,
            metadata text,
            effective_at timestamptz,
            expires_at timestamptz,
            reverses_id uuid,
            digest bytea
        );
        CREATE TYPE ledger.new_entry AS (
            account_id uuid,
            sequence bigint,
            transaction_id uuid,
            amount_minor bigint,
            balance_after_minor bigint,
            hash bytea
        );
        CREATE TYPE ledger.moved_account AS (
            id uuid,
            posted_debits bigint,
            posted_credits bigint,
            pending_debits bigint,
            pending_credits bigint,
            sequence bigint,
            last_hash bytea
        );
        CREATE TYPE ledger.used_control AS (
            id uuid,
            used_at timestamptz,
            day_used_minor bigint,
            month_used_minor bigint,
            seal bytea
        );
    """)


def downgrade() -> None:
    """Drop the types."""
    op.execute("""
        DROP TYPE ledger.new_transaction, ledger.new_entry, ledger.moved_account,
            ledger.used_control
    """)
