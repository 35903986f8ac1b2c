"""The sandbox outbox keeps no words: they are written when a message is read there."""

from alembic import op

revision = "v0002"
down_revision = "v0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let the words be absent; code of the release before goes on writing them."""
    op.execute("""
        ALTER TABLE notifications.sandbox_outbox
            ALTER COLUMN title DROP NOT NULL, ALTER COLUMN short DROP NOT NULL,
            ALTER COLUMN text DROP NOT NULL, ALTER COLUMN html DROP NOT NULL;
    """)


def downgrade() -> None:
    """Empty the outbox of what has no words, and ask for them again."""
    op.execute("""
        DELETE FROM notifications.sandbox_outbox WHERE html IS NULL;
        ALTER TABLE notifications.sandbox_outbox
            ALTER COLUMN title SET NOT NULL, ALTER COLUMN short SET NOT NULL,
            ALTER COLUMN text SET NOT NULL, ALTER COLUMN html SET NOT NULL;
    """)
