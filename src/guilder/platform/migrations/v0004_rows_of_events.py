"""An event to be published as a type, so that a batch sends each as one value."""

from alembic import op

revision = "v0004"
down_revision = "v0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the type. A statement that needs another row gets another type, beside this one."""
    op.execute("""
        CREATE TYPE platform.new_event AS (
            id uuid,
            type text,
            key text,
            data text,
            actor_id uuid,
            request_id text,
            trace_id text
        )
    """)


def downgrade() -> None:
    """Drop the type."""
    op.execute("DROP TYPE platform.new_event")
