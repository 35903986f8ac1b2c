"""Keys of secrets that may be read for a while only (`guilder.platform.ephemeral`)."""

from alembic import op

revision = "v0006"
down_revision = "v0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table. A row is written once, and gone when its time is over."""
    op.execute("""
        CREATE TABLE platform.ephemeral_keys (
            id uuid PRIMARY KEY,
            wrapped bytea NOT NULL,
            expires_at timestamptz NOT NULL
        );
        CREATE INDEX ephemeral_keys_expire ON platform.ephemeral_keys (expires_at);
        GRANT SELECT, INSERT, DELETE ON platform.ephemeral_keys TO guilder_platform;
    """)


def downgrade() -> None:
    """Drop the table: codes that are on their way arrive without words, and are asked for again."""
    op.execute("DROP TABLE platform.ephemeral_keys")
