"""Old messages are found by their age: they lie in its order, so an index of ranges is enough."""

from alembic import op

revision = "v0004"
down_revision = "v0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index."""
    op.execute("""
        CREATE INDEX deliveries_by_age ON notifications.deliveries USING brin (created_at);
    """)


def downgrade() -> None:
    """Drop it."""
    op.execute("DROP INDEX notifications.deliveries_by_age;")
