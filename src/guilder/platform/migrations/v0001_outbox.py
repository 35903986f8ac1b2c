"""The outbox that events wait in, how far each group has read it, and what seals are made of."""

from alembic import op

revision = "v0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the outbox and the consumer offsets."""
    op.execute("""
        CREATE TABLE platform.outbox (
            transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
            position bigint GENERATED ALWAYS AS IDENTITY,
            id uuid NOT NULL,
            type text NOT NULL,
            key text NOT NULL,
            data jsonb NOT NULL,
            actor_id uuid,
            request_id text,
            trace_id text,
            created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            PRIMARY KEY (transaction, position)
        );
        CREATE TABLE platform.consumer_offsets (
            group_name text PRIMARY KEY,
            transaction xid8 NOT NULL DEFAULT '0'::xid8,
            position bigint NOT NULL DEFAULT 0,
            moved_at timestamptz NOT NULL DEFAULT clock_timestamp()
        );
        GRANT SELECT, INSERT ON platform.outbox TO guilder_platform;
        GRANT SELECT, INSERT, UPDATE ON platform.consumer_offsets TO guilder_platform;

        CREATE VIEW check_v1.outbox AS
            SELECT id, type, key, created_at FROM platform.outbox;

        CREATE FUNCTION platform.seal(VARIADIC fields text[]) RETURNS bytea
        LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
            SELECT sha256(string_agg(
                CASE WHEN field IS NULL THEN int4send(-1)
                    ELSE int4send(octet_length(convert_to(field, 'UTF8')))
                        || convert_to(field, 'UTF8') END,
                ''::bytea ORDER BY place))
            FROM unnest(fields) WITH ORDINALITY AS f(field, place)
        $$;
        CREATE FUNCTION platform.epoch_us(moment timestamptz) RETURNS bigint
        LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
            SELECT (extract(epoch FROM moment) * 1000000)::bigint
        $$;
    """)


def downgrade() -> None:
    """Drop both; events that were not yet read are lost."""
    op.execute("""
        DROP FUNCTION platform.seal(text[]), platform.epoch_us(timestamptz);
        DROP VIEW check_v1.outbox;
        DROP TABLE platform.consumer_offsets;
        DROP TABLE platform.outbox;
    """)
