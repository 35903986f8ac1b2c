"""What is due is looked for channel by channel, security first, however much else waits.

The words of the sandbox outbox, which nobody has written since v0002, are dropped. The table of
known devices is emptied: identity knows them, and code of the release before looks into it when it
forgets people, so it is dropped in a later release.
"""

from alembic import op

revision = "v0005"
down_revision = "v0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create an index of what is urgent and one of the rest; drop and empty what nobody uses.

    Nobody queues, sends or ends a message while both indexes are made, which takes longer the more
    messages are kept: they wait, and go out afterwards.
    """
    op.execute("""
        CREATE INDEX deliveries_due_urgent ON notifications.deliveries (channel, due_at, id)
            WHERE status = 'queued' AND category = 'security';
        CREATE INDEX deliveries_due_others ON notifications.deliveries (channel, due_at, id)
            WHERE status = 'queued' AND category <> 'security';
        ALTER TABLE notifications.sandbox_outbox
            DROP COLUMN title, DROP COLUMN short, DROP COLUMN text, DROP COLUMN html;
        DELETE FROM notifications.known_devices;
    """)


def downgrade() -> None:
    """Drop the indexes and let there be words again; the known devices are not."""
    op.execute("""
        ALTER TABLE notifications.sandbox_outbox
            ADD COLUMN title text, ADD COLUMN short text, ADD COLUMN text text,
            ADD COLUMN html text;
        DROP INDEX notifications.deliveries_due_urgent, notifications.deliveries_due_others;
    """)
