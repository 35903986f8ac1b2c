"""The sandbox outbox keeps no words, which are written when a message is read there, and one index.

Old messages are cleared away once an hour, in the order in which they lie, without an index.
"""

from alembic import op

revision = "v0002"
down_revision = "v0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let the words be absent; code of the release before goes on writing them."""
    op.execute("""
        DROP INDEX notifications.sandbox_outbox_by_age, notifications.sandbox_outbox_by_user;
        ALTER TABLE notifications.sandbox_outbox DROP CONSTRAINT sandbox_outbox_pkey,
            ADD PRIMARY KEY (user_id, id);
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
            ALTER COLUMN text SET NOT NULL, ALTER COLUMN html SET NOT NULL,
            DROP CONSTRAINT sandbox_outbox_pkey, ADD PRIMARY KEY (id);
        CREATE INDEX sandbox_outbox_by_user ON notifications.sandbox_outbox (user_id, id);
        CREATE INDEX sandbox_outbox_by_age ON notifications.sandbox_outbox (sent_at);
    """)
