"""Erased people: what is known of them may be deleted; an empty contact says that they are gone."""

from alembic import op

revision = "v0003"
down_revision = "v0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let what is known of people be deleted, and find those who are gone."""
    op.execute("""
        CREATE INDEX contacts_of_the_erased ON notifications.contacts (user_id)
            WHERE changed_at = 'infinity';
        CREATE INDEX deliveries_by_user ON notifications.deliveries (user_id);
        GRANT DELETE ON notifications.known_devices, notifications.preferences,
            notifications.inboxes, notifications.feed, notifications.deliveries
            TO guilder_notifications;
    """)


def downgrade() -> None:
    """Forbid it again; those who were erased stay so."""
    op.execute("""
        REVOKE DELETE ON notifications.known_devices, notifications.preferences,
            notifications.inboxes, notifications.feed, notifications.deliveries
            FROM guilder_notifications;
        DROP INDEX notifications.deliveries_by_user;
        DROP INDEX notifications.contacts_of_the_erased;
    """)
