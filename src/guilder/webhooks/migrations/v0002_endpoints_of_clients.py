"""Endpoints of machine clients, which hear what concerns whom they act for; owners who are gone."""

from alembic import op

revision = "v0002"
down_revision = "v0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add whom an endpoint's owner acts for, and those who register nothing any more."""
    op.execute("""
        ALTER TABLE webhooks.endpoints ADD COLUMN acts_for uuid;
        CREATE INDEX endpoints_by_whom_they_act_for ON webhooks.endpoints (acts_for)
            WHERE acts_for IS NOT NULL;
        CREATE TABLE webhooks.gone_owners (
            owner_id uuid PRIMARY KEY,
            gone_at timestamptz NOT NULL DEFAULT clock_timestamp()
        );
        CREATE INDEX gone_owners_by_age ON webhooks.gone_owners (gone_at);
        GRANT SELECT, INSERT, DELETE ON webhooks.gone_owners TO guilder_webhooks;
    """)


def downgrade() -> None:
    """Drop both; endpoints of machine clients hear of what they own themselves."""
    op.execute("""
        DROP TABLE webhooks.gone_owners;
        ALTER TABLE webhooks.endpoints DROP COLUMN acts_for;
    """)
