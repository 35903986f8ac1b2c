"""Authenticators that nobody confirmed are found without a look at those that are in use."""

from alembic import op

revision = "v0009"
down_revision = "v0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index."""
    op.execute("""
        CREATE INDEX totp_unconfirmed ON identity.totp (confirm_by) WHERE confirmed_at IS NULL;
    """)


def downgrade() -> None:
    """Drop it."""
    op.execute("""
        DROP INDEX identity.totp_unconfirmed;
    """)
