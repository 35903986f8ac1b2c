"""Events that wait for word of a wallet know in which order they came."""

from alembic import op

revision = "v0004"
down_revision = "v0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Number them; those that wait already are numbered as they lie, which is as they came."""
    op.execute("""
        ALTER TABLE webhooks.unrouted ADD COLUMN place bigint GENERATED ALWAYS AS IDENTITY;
    """)


def downgrade() -> None:
    """Drop the numbers."""
    op.execute("ALTER TABLE webhooks.unrouted DROP COLUMN place;")
