"""What is due is looked for channel by channel, security first, however much else waits."""

from alembic import op

revision = "v0005"
down_revision = "v0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create an index of what is urgent, and one of the rest."""
    op.execute("""
        CREATE INDEX deliveries_due_urgent ON notifications.deliveries (channel, due_at, id)
            WHERE status = 'queued' AND category = 'security';
        CREATE INDEX deliveries_due_others ON notifications.deliveries (channel, due_at, id)
            WHERE status = 'queued' AND category <> 'security';
    """)


def downgrade() -> None:
    """Drop them."""
    op.execute("""
        DROP INDEX notifications.deliveries_due_urgent, notifications.deliveries_due_others;
    """)
