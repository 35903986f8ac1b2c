"""Marks of work that is to be done once (`guilder.platform.once`)."""

from alembic import op

revision = "v0008"
down_revision = "v0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table. A mark is written with the work, and gone an hour later."""
    op.execute("""
        CREATE TABLE platform.attempts (
            id uuid PRIMARY KEY,
            made_at timestamptz NOT NULL DEFAULT clock_timestamp()
        );
        CREATE INDEX attempts_by_age ON platform.attempts (made_at);
        GRANT SELECT, INSERT, DELETE ON platform.attempts TO guilder_platform;
    """)


def downgrade() -> None:
    """Drop the table: nothing refers to a mark but the attempt that made it."""
    op.execute("DROP TABLE platform.attempts")
