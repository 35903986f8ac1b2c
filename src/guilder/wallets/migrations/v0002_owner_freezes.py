"""Which wallets are frozen because their owner is."""

from alembic import op

revision = "v0002"
down_revision = "v0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.execute("""
        CREATE TABLE wallets.owner_freezes (
            wallet_id uuid PRIMARY KEY,
            freeze_id uuid NOT NULL
        );
        CREATE INDEX owner_freezes_by_freeze ON wallets.owner_freezes (freeze_id, wallet_id);
        GRANT SELECT, INSERT, DELETE ON wallets.owner_freezes TO guilder_wallets;
    """)


def downgrade() -> None:
    """Forget why they are frozen; they stay so until staff unfreeze them."""
    op.execute("DROP TABLE wallets.owner_freezes")
