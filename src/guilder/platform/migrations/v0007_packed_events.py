"""Arrays of events under a name of their own, and no statistics of what nobody looks for.

The reasons are those of the ledger's `v0003`. Of an event's data, above all, a sample is dear:
comparing JSON means taking it apart.
"""

from alembic import op

revision = "v0007"
down_revision = "v0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Name the array; an older program goes on sending arrays of rows."""
    op.execute("""
        CREATE DOMAIN platform.new_events AS platform.new_event[];

        ALTER TABLE platform.outbox
            ALTER COLUMN id SET STATISTICS 0,
            ALTER COLUMN data SET STATISTICS 0,
            ALTER COLUMN actor_id SET STATISTICS 0,
            ALTER COLUMN request_id SET STATISTICS 0,
            ALTER COLUMN trace_id SET STATISTICS 0;
    """)


def downgrade() -> None:
    """Drop the name, and gather all statistics again."""
    op.execute("""
        ALTER TABLE platform.outbox
            ALTER COLUMN trace_id SET STATISTICS DEFAULT,
            ALTER COLUMN request_id SET STATISTICS DEFAULT,
            ALTER COLUMN actor_id SET STATISTICS DEFAULT,
            ALTER COLUMN data SET STATISTICS DEFAULT,
            ALTER COLUMN id SET STATISTICS DEFAULT;
        DROP DOMAIN platform.new_events;
    """)
