"""The positions of groups as they were before there were partitions: nothing has read them since.

Code that reads them comes from before v0002, which took what they said.
"""

from alembic import op

revision = "v0005"
down_revision = "v0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop the table."""
    op.execute("DROP TABLE platform.consumer_offsets;")


def downgrade() -> None:
    """Make it again, empty and for nobody to write, as v0002 left it."""
    op.execute("""
        CREATE TABLE platform.consumer_offsets (
            group_name text PRIMARY KEY,
            transaction xid8 NOT NULL DEFAULT '0'::xid8,
            position bigint NOT NULL DEFAULT 0,
            moved_at timestamptz NOT NULL DEFAULT clock_timestamp()
        );
        GRANT SELECT ON platform.consumer_offsets TO guilder_platform;
    """)
