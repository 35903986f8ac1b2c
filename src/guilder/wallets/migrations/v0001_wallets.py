"""Wallets: whose a ledger account is, and what may be done to it."""

from alembic import op

revision = "v0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the wallets, their grants and the auditor's view."""
    op.execute("""
        CREATE TABLE wallets.wallets (
            id uuid PRIMARY KEY,
            owner_id uuid NOT NULL,
            currency text NOT NULL,
            label text NOT NULL DEFAULT '',
            status text NOT NULL CHECK (status IN ('pending', 'active', 'frozen', 'closed')),
            frozen_by_staff boolean NOT NULL DEFAULT false,
            is_default boolean NOT NULL DEFAULT false,
            created_at timestamptz NOT NULL,
            changed_at timestamptz NOT NULL,
            seal bytea NOT NULL
        );
        CREATE INDEX wallets_by_owner ON wallets.wallets (owner_id, id);
        CREATE UNIQUE INDEX one_default_wallet ON wallets.wallets (owner_id, currency)
            WHERE is_default;
        GRANT SELECT, INSERT ON wallets.wallets TO guilder_wallets;
        GRANT UPDATE (label, status, frozen_by_staff, changed_at, seal) ON wallets.wallets
            TO guilder_wallets;

        CREATE VIEW check_v1.wallets AS
            SELECT id, owner_id, id AS account_id, currency, status FROM wallets.wallets;
    """)


def downgrade() -> None:
    """Drop the wallets; their ledger accounts stay."""
    op.execute("DROP VIEW check_v1.wallets; DROP TABLE wallets.wallets")
