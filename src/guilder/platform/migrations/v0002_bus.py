"""Order by key, a position per partition, parked events, and what readers need to share the work.

It waits for writers to the outbox and keeps them out while it builds one index: about a second for
a million events. Code of the release before goes on writing; its readers find no group to feed.
"""

from alembic import op

revision = "v0002"
down_revision = "v0001"
branch_labels = None
depends_on = None


_PARKED = """
    CREATE TABLE platform.parked_events (
        group_name text NOT NULL,
        id uuid NOT NULL,
        place bigint GENERATED ALWAYS AS IDENTITY,
        state text NOT NULL CHECK (state IN ('waiting', 'behind', 'dead')),
        attempts integer NOT NULL DEFAULT 0,
        next_attempt_at timestamptz,
        last_error text,
        parked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        type text NOT NULL,
        key text NOT NULL,
        data jsonb NOT NULL,
        created_at timestamptz NOT NULL,
        actor_id uuid,
        request_id text,
        trace_id text,
        PRIMARY KEY (group_name, id),
        CHECK ((state = 'waiting') = (next_attempt_at IS NOT NULL))
    );
    CREATE INDEX parked_in_order ON platform.parked_events (group_name, key, place);
    CREATE INDEX parked_due
        ON platform.parked_events (group_name, next_attempt_at) WHERE state = 'waiting';

    CREATE TABLE platform.heard_events (
        group_name text NOT NULL,
        event_id uuid NOT NULL,
        heard_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (group_name, event_id)
    );
    CREATE INDEX heard_long_ago ON platform.heard_events (heard_at);
"""


def upgrade() -> None:
    """Split the outbox into eight partitions by key, and move each group's position there.

    An event's ``transaction`` becomes at least the first one that had not ended when the event was
    written. Whoever waited for a lock on what the event is about then comes after the one it
    waited for, though its own transaction may have begun before.
    """
    op.execute(_PARKED)
    op.execute("""
        LOCK TABLE platform.outbox, platform.consumer_offsets IN ACCESS EXCLUSIVE MODE;

        CREATE FUNCTION platform.partition_of(key text) RETURNS integer
        LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT pg_catalog.hashtext(key) & 7 $$;
        CREATE UNIQUE INDEX outbox_in_order
            ON platform.outbox (platform.partition_of(key), transaction, position);
        ALTER TABLE platform.outbox
            DROP CONSTRAINT outbox_pkey,
            ALTER COLUMN transaction
                SET DEFAULT greatest(pg_current_xact_id(), pg_snapshot_xmax(pg_current_snapshot()));

        CREATE TABLE platform.consumer_positions (
            group_name text NOT NULL,
            partition integer NOT NULL CHECK (partition BETWEEN 0 AND 7),
            transaction xid8 NOT NULL DEFAULT '0'::xid8,
            position bigint NOT NULL DEFAULT 0,
            feed text NOT NULL DEFAULT 'outbox' CHECK (feed IN ('outbox', 'kafka')),
            moved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            PRIMARY KEY (group_name, partition)
        ) WITH (fillfactor = 50);
        INSERT INTO platform.consumer_positions (group_name, partition, transaction, position)
            SELECT group_name, partition, transaction, position
            FROM platform.consumer_offsets, generate_series(0, 7) AS partition;
        DELETE FROM platform.consumer_offsets;
        REVOKE INSERT, UPDATE ON platform.consumer_offsets FROM guilder_platform;

        CREATE TABLE platform.outbox_retention (
            is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
            kept_since timestamptz NOT NULL
        );
        INSERT INTO platform.outbox_retention (kept_since) VALUES ('-infinity');

        GRANT DELETE ON platform.outbox TO guilder_platform;
        GRANT SELECT, INSERT, UPDATE, DELETE
            ON platform.consumer_positions, platform.parked_events TO guilder_platform;
        GRANT SELECT, INSERT, DELETE ON platform.heard_events TO guilder_platform;
        GRANT SELECT, UPDATE ON platform.outbox_retention TO guilder_platform;
    """)


def downgrade() -> None:
    """Give each group one position again: the least of its partitions, so nothing is skipped."""
    op.execute("""
        INSERT INTO platform.consumer_offsets (group_name, transaction, position)
            SELECT DISTINCT ON (group_name) group_name, transaction, position
            FROM platform.consumer_positions ORDER BY group_name, transaction, position;
        GRANT INSERT, UPDATE ON platform.consumer_offsets TO guilder_platform;
        REVOKE DELETE ON platform.outbox FROM guilder_platform;
        DROP TABLE platform.outbox_retention, platform.heard_events, platform.parked_events,
            platform.consumer_positions;
        DROP INDEX platform.outbox_in_order;
        DROP FUNCTION platform.partition_of(text);
        ALTER TABLE platform.outbox
            ADD PRIMARY KEY (transaction, position),
            ALTER COLUMN transaction SET DEFAULT pg_current_xact_id();
    """)
