"""The log of a delivery stays small: old attempts lose their answers, and replays are counted."""

from alembic import op

revision = "v0003"
down_revision = "v0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let answers be emptied, and count what each owner has sent again on a day."""
    op.execute("""
        GRANT UPDATE (headers, body, is_cut) ON webhooks.attempts TO guilder_webhooks;
        CREATE TABLE webhooks.replays (
            owner_id uuid NOT NULL,
            day date NOT NULL,
            deliveries integer NOT NULL,
            PRIMARY KEY (owner_id, day)
        );
        GRANT SELECT, INSERT, UPDATE, DELETE ON webhooks.replays TO guilder_webhooks;
    """)


def downgrade() -> None:
    """Forget the counts; the answers that were emptied stay so."""
    op.execute("""
        DROP TABLE webhooks.replays;
        REVOKE UPDATE (headers, body, is_cut) ON webhooks.attempts FROM guilder_webhooks;
    """)
