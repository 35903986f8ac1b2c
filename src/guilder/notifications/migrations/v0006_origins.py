"""A message knows who asked for it and in which request, so that what becomes of it can say so.

The columns are added empty, which rewrites nothing; messages of before, and those that the release
before writes meanwhile, come from nowhere.
"""

from alembic import op

revision = "v0006"
down_revision = "v0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.execute("""
        ALTER TABLE notifications.deliveries
            ADD COLUMN actor_id uuid, ADD COLUMN request_id text, ADD COLUMN trace_id text;
    """)


def downgrade() -> None:
    """Drop them."""
    op.execute("""
        ALTER TABLE notifications.deliveries
            DROP COLUMN actor_id, DROP COLUMN request_id, DROP COLUMN trace_id;
    """)
