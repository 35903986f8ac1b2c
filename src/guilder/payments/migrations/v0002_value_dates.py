"""When a payment counts, where that is before it was recorded: imports and corrections."""

from alembic import op

revision = "v0002"
down_revision = "v0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the date; none means that a payment counts when it was recorded."""
    op.execute("""
        ALTER TABLE payments.transactions
            ADD COLUMN effective_at timestamptz CHECK (effective_at <= created_at)
    """)


def downgrade() -> None:
    """Drop the date; the ledger's transaction keeps it."""
    op.execute("ALTER TABLE payments.transactions DROP COLUMN effective_at")
