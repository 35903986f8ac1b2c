"""A payment with its key as a type, so that a batch sends each as one value."""

from alembic import op

revision = "v0003"
down_revision = "v0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the type. A statement that needs another row gets another type, beside this one."""
    op.execute("""
        CREATE TYPE payments.new_payment AS (
            id uuid,
            type text,
            status text,
            owner_id uuid,
            from_wallet_id uuid,
            to_wallet_id uuid,
            amount_minor bigint,
            currency text,
            description text,
            key text,
            failure_code text,
            failure_message text,
            failure_details text,
            effective_at timestamptz,
            seal bytea,
            fingerprint bytea
        )
    """)


def downgrade() -> None:
    """Drop the type."""
    op.execute("DROP TYPE payments.new_payment")
