"""Old messages are found by their age through a tree: see `v0005` of payments."""

from alembic import op

revision = "v0007"
down_revision = "v0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tree, of those that ended, then drop the ranges."""
    op.execute("""
        CREATE INDEX deliveries_ended_by_age ON notifications.deliveries (created_at)
            WHERE ended_at IS NOT NULL;
        DROP INDEX notifications.deliveries_by_age;
    """)


def downgrade() -> None:
    """Have the ranges again."""
    op.execute("""
        CREATE INDEX deliveries_by_age ON notifications.deliveries USING brin (created_at);
        DROP INDEX notifications.deliveries_ended_by_age;
    """)
