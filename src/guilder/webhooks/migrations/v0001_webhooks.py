"""Webhooks: endpoints, the events they hear, deliveries with their attempts, and who owns what."""

from alembic import op

revision = "v0001"
down_revision = None
branch_labels = None
depends_on = None

_EVENTS = """
    CREATE TABLE webhooks.endpoints (
        id uuid PRIMARY KEY,
        owner_id uuid NOT NULL,
        url text NOT NULL,
        description text NOT NULL DEFAULT '',
        events text[] NOT NULL,
        status text NOT NULL CHECK (status IN ('enabled', 'disabled', 'deleted')),
        disabled_reason text CHECK (disabled_reason IN ('owner', 'gone', 'failing')),
        secret bytea NOT NULL,
        previous_secret bytea,
        previous_until timestamptz,
        failing_since timestamptz,
        is_slow boolean NOT NULL DEFAULT true,
        next_due_at timestamptz,
        created_at timestamptz NOT NULL,
        changed_at timestamptz NOT NULL
    );
    CREATE INDEX endpoints_by_owner ON webhooks.endpoints (owner_id, id);
    CREATE INDEX endpoints_due ON webhooks.endpoints (is_slow, next_due_at)
        WHERE next_due_at IS NOT NULL;
    CREATE INDEX endpoints_deleted ON webhooks.endpoints (id) WHERE status = 'deleted';

    CREATE TABLE webhooks.owners (
        wallet_id uuid PRIMARY KEY,
        owner_id uuid NOT NULL
    );

    CREATE TABLE webhooks.events (
        id uuid PRIMARY KEY,
        type text NOT NULL,
        key text NOT NULL,
        body text NOT NULL,
        occurred_at timestamptz NOT NULL
    );
    CREATE INDEX events_by_age ON webhooks.events (occurred_at);

    CREATE TABLE webhooks.unrouted (
        event_id uuid NOT NULL,
        wallet_id uuid NOT NULL,
        type text NOT NULL,
        key text NOT NULL,
        body text NOT NULL,
        occurred_at timestamptz NOT NULL,
        PRIMARY KEY (wallet_id, event_id)
    );
"""
_DELIVERIES = """
    CREATE SEQUENCE webhooks.turns;
    CREATE TABLE webhooks.deliveries (
        id uuid PRIMARY KEY,
        endpoint_id uuid NOT NULL,
        event_id uuid NOT NULL,
        key text NOT NULL,
        position bigint GENERATED ALWAYS AS IDENTITY,
        turn bigint NOT NULL DEFAULT nextval('webhooks.turns'),
        state text NOT NULL CHECK (state IN ('pending', 'delivered', 'failed', 'skipped')),
        attempts integer NOT NULL DEFAULT 0,
        failures integer NOT NULL DEFAULT 0,
        due_at timestamptz,
        leased_until timestamptz,
        fence bigint NOT NULL DEFAULT 0,
        created_at timestamptz NOT NULL,
        ended_at timestamptz,
        UNIQUE (endpoint_id, event_id)
    );
    CREATE INDEX deliveries_in_order ON webhooks.deliveries (endpoint_id, position);
    CREATE INDEX deliveries_by_time ON webhooks.deliveries (endpoint_id, created_at);
    CREATE INDEX deliveries_by_age ON webhooks.deliveries (created_at);
    CREATE INDEX deliveries_of_event ON webhooks.deliveries (event_id);
    CREATE INDEX deliveries_due ON webhooks.deliveries (endpoint_id, due_at)
        WHERE state = 'pending' AND due_at IS NOT NULL;
    CREATE INDEX deliveries_in_line ON webhooks.deliveries (endpoint_id, key, turn)
        WHERE state = 'pending';
    CREATE INDEX deliveries_leased ON webhooks.deliveries (endpoint_id, leased_until)
        WHERE leased_until IS NOT NULL;

    CREATE TABLE webhooks.attempts (
        delivery_id uuid NOT NULL,
        number integer NOT NULL,
        started_at timestamptz NOT NULL,
        duration_ms integer NOT NULL,
        status integer,
        failure text,
        headers jsonb NOT NULL,
        body text NOT NULL,
        is_cut boolean NOT NULL,
        PRIMARY KEY (delivery_id, number)
    );
"""
_GRANTS = """
    GRANT SELECT, INSERT, UPDATE, DELETE ON webhooks.endpoints TO guilder_webhooks;
    GRANT SELECT, INSERT ON webhooks.owners TO guilder_webhooks;
    GRANT SELECT, INSERT, DELETE ON webhooks.events TO guilder_webhooks;
    GRANT SELECT, INSERT, DELETE ON webhooks.unrouted TO guilder_webhooks;
    GRANT SELECT, INSERT, UPDATE, DELETE ON webhooks.deliveries TO guilder_webhooks;
    GRANT SELECT, INSERT, DELETE ON webhooks.attempts TO guilder_webhooks;
    GRANT USAGE ON SEQUENCE webhooks.turns TO guilder_webhooks;
"""


def upgrade() -> None:
    """Create the tables and their grants."""
    op.execute(_EVENTS + _DELIVERIES + _GRANTS)


def downgrade() -> None:
    """Drop everything; deliveries that were not yet made are lost."""
    op.execute("""
        DROP TABLE webhooks.attempts, webhooks.deliveries, webhooks.unrouted, webhooks.events,
            webhooks.owners, webhooks.endpoints;
        DROP SEQUENCE webhooks.turns;
    """)
