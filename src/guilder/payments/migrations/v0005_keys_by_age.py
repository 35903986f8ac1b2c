"""Keys are found by their age through a tree, not through an index of ranges.

Of a range of pages, that one knows the oldest row that was ever in it: once the place of keys that
are over has been given to new ones, every range looks as if it had old ones.
"""

from alembic import op

revision = "v0005"
down_revision = "v0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tree, then drop the ranges."""
    op.execute("""
        CREATE INDEX idempotency_by_age ON payments.idempotency (created_at);
        DROP INDEX payments.idempotency_by_time;
    """)


def downgrade() -> None:
    """Have the ranges again."""
    op.execute("""
        CREATE INDEX idempotency_by_time ON payments.idempotency USING brin (created_at);
        DROP INDEX payments.idempotency_by_age;
    """)
