"""Feeds, deliveries, what people chose, and the copies of what other contexts know of them."""

from alembic import op

revision = "v0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables and their grants."""
    _people()
    _feeds()
    _deliveries()


def downgrade() -> None:
    """Drop everything; people are not told again what they were told."""
    op.execute("""
        DROP TABLE notifications.contacts, notifications.wallets, notifications.known_devices,
            notifications.preferences, notifications.devices, notifications.inboxes,
            notifications.feed, notifications.deliveries, notifications.sandbox_outbox;
    """)


def _people() -> None:
    op.execute("""
        CREATE TABLE notifications.contacts (
            user_id uuid PRIMARY KEY,
            sealed bytea NOT NULL,
            has_email boolean NOT NULL,
            has_phone boolean NOT NULL,
            changed_at timestamptz NOT NULL
        );
        CREATE TABLE notifications.wallets (
            wallet_id uuid PRIMARY KEY,
            owner_id uuid NOT NULL
        );
        CREATE TABLE notifications.known_devices (
            user_id uuid NOT NULL,
            device text NOT NULL,
            first_seen_at timestamptz NOT NULL,
            PRIMARY KEY (user_id, device)
        );
        CREATE TABLE notifications.preferences (
            user_id uuid PRIMARY KEY,
            language text NOT NULL,
            time_zone text NOT NULL,
            quiet_from time,
            quiet_until time,
            choices jsonb NOT NULL DEFAULT '{}',
            changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            CONSTRAINT preferences_quiet_hours_whole
                CHECK ((quiet_from IS NULL) = (quiet_until IS NULL))
        );
        CREATE TABLE notifications.devices (
            id uuid PRIMARY KEY,
            user_id uuid NOT NULL,
            token text NOT NULL CONSTRAINT devices_token_unique UNIQUE,
            label text NOT NULL,
            added_at timestamptz NOT NULL DEFAULT clock_timestamp()
        );
        CREATE INDEX devices_by_user ON notifications.devices (user_id, id);
        GRANT SELECT, INSERT, UPDATE ON notifications.contacts, notifications.preferences
            TO guilder_notifications;
        GRANT SELECT, INSERT ON notifications.wallets, notifications.known_devices
            TO guilder_notifications;
        GRANT SELECT, INSERT, UPDATE, DELETE ON notifications.devices TO guilder_notifications;
    """)


def _feeds() -> None:
    op.execute("""
        CREATE TABLE notifications.inboxes (
            user_id uuid PRIMARY KEY,
            last_sequence bigint NOT NULL
        );
        CREATE TABLE notifications.feed (
            user_id uuid NOT NULL,
            sequence bigint NOT NULL,
            id uuid NOT NULL CONSTRAINT feed_id_unique UNIQUE,
            template text NOT NULL,
            category text NOT NULL,
            data jsonb NOT NULL,
            event_id uuid,
            created_at timestamptz NOT NULL,
            read_at timestamptz,
            PRIMARY KEY (user_id, sequence)
        );
        CREATE INDEX feed_unread ON notifications.feed (user_id) WHERE read_at IS NULL;
        GRANT SELECT, INSERT, UPDATE ON notifications.inboxes TO guilder_notifications;
        GRANT SELECT, INSERT ON notifications.feed TO guilder_notifications;
        GRANT UPDATE (read_at) ON notifications.feed TO guilder_notifications;
    """)


def _deliveries() -> None:
    op.execute("""
        CREATE TABLE notifications.deliveries (
            id uuid PRIMARY KEY,
            user_id uuid NOT NULL,
            channel text NOT NULL CHECK (channel IN ('email', 'sms', 'push')),
            device_id uuid,
            template text NOT NULL,
            category text NOT NULL,
            data jsonb NOT NULL,
            event_id uuid,
            status text NOT NULL CHECK (status IN ('queued', 'sent', 'failed', 'suppressed')),
            attempts integer NOT NULL DEFAULT 0,
            due_at timestamptz NOT NULL,
            reason text,
            provider_reference text,
            created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            ended_at timestamptz,
            CONSTRAINT deliveries_end CHECK ((status = 'queued') = (ended_at IS NULL)),
            CONSTRAINT deliveries_to_a_device CHECK (
                status = 'suppressed' OR (channel = 'push') = (device_id IS NOT NULL))
        );
        CREATE INDEX deliveries_due ON notifications.deliveries (due_at, id)
            WHERE status = 'queued';
        CREATE TABLE notifications.sandbox_outbox (
            id uuid PRIMARY KEY,
            user_id uuid NOT NULL,
            channel text NOT NULL,
            recipient text NOT NULL,
            title text NOT NULL,
            short text NOT NULL,
            text text NOT NULL,
            html text NOT NULL,
            sent_at timestamptz NOT NULL DEFAULT clock_timestamp()
        );
        CREATE INDEX sandbox_outbox_by_user ON notifications.sandbox_outbox (user_id, id);
        CREATE INDEX sandbox_outbox_by_age ON notifications.sandbox_outbox (sent_at);
        GRANT SELECT, INSERT ON notifications.deliveries TO guilder_notifications;
        GRANT UPDATE (status, attempts, due_at, reason, provider_reference, ended_at)
            ON notifications.deliveries TO guilder_notifications;
        GRANT SELECT, INSERT, DELETE ON notifications.sandbox_outbox TO guilder_notifications;
    """)
