"""A verification knows which session began it, so that wrong codes count for that one alone."""

from alembic import op

revision = "v0008"
down_revision = "v0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the session. The code that is running leaves it out, and counts for the whole user."""
    op.execute("ALTER TABLE identity.verifications ADD COLUMN session_id uuid")


def downgrade() -> None:
    """Drop it: wrong codes count for the whole user again."""
    op.execute("ALTER TABLE identity.verifications DROP COLUMN session_id")
