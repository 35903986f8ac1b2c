"""Records of everything that happened, the chains they stand in, and the keys of persons.

Records are append-only: the application may only read and insert them, and a trigger refuses
changes to whoever may.
"""

from alembic import op

revision = "v0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables, their guards, the grants and the view."""
    op.execute(_TABLES)
    op.execute(_GUARDS)
    op.execute(_GRANTS_AND_VIEW)


def downgrade() -> None:
    """Drop it all; there is no way back for what was recorded."""
    op.execute("""
        DROP VIEW check_v1.audit;
        DROP TABLE audit.records, audit.chains, audit.data_keys;
        DROP FUNCTION audit.refuse_change();
    """)


_TABLES = """
    CREATE TABLE audit.records (
        chain smallint NOT NULL,
        sequence bigint NOT NULL,
        event_id uuid NOT NULL,
        actor_id uuid,
        action text NOT NULL,
        subject text NOT NULL,
        key text NOT NULL,
        request_id text,
        trace_id text,
        created_at timestamptz NOT NULL,
        recorded_at timestamptz NOT NULL,
        before json,
        after json,
        details json NOT NULL,
        person_id uuid,
        personal bytea,
        hash bytea NOT NULL,
        PRIMARY KEY (chain, sequence)
    );
    CREATE UNIQUE INDEX one_record_per_event ON audit.records (event_id);
    CREATE INDEX records_by_time ON audit.records (created_at, event_id);
    CREATE INDEX records_by_actor ON audit.records (actor_id, created_at, event_id)
        WHERE actor_id IS NOT NULL;
    CREATE INDEX records_by_action ON audit.records (action, created_at, event_id);
    CREATE INDEX records_by_subject ON audit.records (subject, created_at, event_id);
    CREATE INDEX records_by_key ON audit.records (key, created_at, event_id)
        WHERE key <> subject;
    CREATE INDEX records_by_request ON audit.records (request_id, created_at, event_id)
        WHERE request_id IS NOT NULL;
    CREATE INDEX records_by_trace ON audit.records (trace_id, created_at, event_id)
        WHERE trace_id IS NOT NULL;

    CREATE TABLE audit.chains (
        chain smallint PRIMARY KEY,
        sequence bigint NOT NULL,
        hash bytea NOT NULL
    ) WITH (fillfactor = 10);
    INSERT INTO audit.chains
        SELECT number, 0, decode(repeat('00', 32), 'hex') FROM generate_series(1, 4) AS number;

    CREATE TABLE audit.data_keys (
        person_id uuid PRIMARY KEY,
        id uuid NOT NULL,
        wrapped bytea,
        created_at timestamptz NOT NULL,
        erased_at timestamptz,
        seal bytea NOT NULL,
        CHECK ((wrapped IS NULL) = (erased_at IS NOT NULL))
    );
"""

_GUARDS = """
    CREATE FUNCTION audit.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% on %.% is refused: its rows are append-only',
            TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END $$;
    CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.records
        FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
    CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON audit.chains
        FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
    CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON audit.data_keys
        FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
    CREATE TRIGGER erased_for_good BEFORE UPDATE ON audit.data_keys
        FOR EACH ROW WHEN (OLD.erased_at IS NOT NULL)
        EXECUTE FUNCTION audit.refuse_change();
"""

_GRANTS_AND_VIEW = """
    GRANT SELECT, INSERT ON audit.records, audit.data_keys TO guilder_audit;
    GRANT SELECT ON audit.chains TO guilder_audit;
    GRANT UPDATE (sequence, hash) ON audit.chains TO guilder_audit;
    GRANT UPDATE (wrapped, erased_at, seal) ON audit.data_keys TO guilder_audit;

    CREATE VIEW check_v1.audit AS
        SELECT chain, sequence, event_id AS id, actor_id, action, subject, request_id,
            trace_id, created_at, recorded_at, hash
        FROM audit.records;
"""
