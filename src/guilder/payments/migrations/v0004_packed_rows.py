"""Arrays of payments under a name of their own, and no statistics of what nobody looks for.

The reasons are those of the ledger's `v0003`.
"""

from alembic import op

revision = "v0004"
down_revision = "v0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Name the array; an older program goes on sending arrays of rows."""
    op.execute("""
        CREATE DOMAIN payments.new_payments AS payments.new_payment[];

        ALTER TABLE payments.transactions
            ALTER COLUMN description SET STATISTICS 0,
            ALTER COLUMN idempotency_key SET STATISTICS 0,
            ALTER COLUMN amount_minor SET STATISTICS 0,
            ALTER COLUMN seal SET STATISTICS 0;
        ALTER TABLE payments.idempotency
            ALTER COLUMN fingerprint SET STATISTICS 0;
    """)


def downgrade() -> None:
    """Drop the name, and gather all statistics again."""
    op.execute("""
        ALTER TABLE payments.idempotency
            ALTER COLUMN fingerprint SET STATISTICS DEFAULT;
        ALTER TABLE payments.transactions
            ALTER COLUMN seal SET STATISTICS DEFAULT,
            ALTER COLUMN amount_minor SET STATISTICS DEFAULT,
            ALTER COLUMN idempotency_key SET STATISTICS DEFAULT,
            ALTER COLUMN description SET STATISTICS DEFAULT;
        DROP DOMAIN payments.new_payments;
    """)
