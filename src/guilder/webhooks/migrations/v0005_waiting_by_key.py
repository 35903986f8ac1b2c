"""Events that wait do so by key, and may wait for people who are known."""

from alembic import op

revision = "v0005"
down_revision = "v0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let a row say whom its event is for; few rows wait here, so the index is made in a moment."""
    op.execute("""
        ALTER TABLE webhooks.unrouted ADD COLUMN owner_id uuid;
        CREATE INDEX unrouted_by_key ON webhooks.unrouted (key);
    """)


def downgrade() -> None:
    """Drop both; what waits for somebody who was named by the event itself is not delivered."""
    op.execute("""
        DROP INDEX webhooks.unrouted_by_key;
        ALTER TABLE webhooks.unrouted DROP COLUMN owner_id;
    """)
