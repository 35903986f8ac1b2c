"""Sessions that are refreshed, listed and ended; devices; sign-ins that back off."""

from alembic import op

revision = "v0002"
down_revision = "v0001"
branch_labels = None
depends_on = None

_SESSIONS = """
    ALTER TABLE identity.sessions
        ADD COLUMN client_address text,
        ADD COLUMN methods text[] NOT NULL DEFAULT '{pwd}',
        ADD COLUMN last_used_at timestamptz,
        ADD COLUMN ended_at timestamptz,
        ADD COLUMN end_reason text,
        ADD CONSTRAINT sessions_end_whole CHECK ((ended_at IS NULL) = (end_reason IS NULL));
    CREATE INDEX sessions_by_account ON identity.sessions (account_id, id);
    CREATE INDEX sessions_by_end ON identity.sessions (expires_at);
    CREATE TABLE identity.refresh_tokens (
        digest bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
        session_id uuid NOT NULL REFERENCES identity.sessions ON DELETE CASCADE,
        issued_at timestamptz NOT NULL,
        expires_at timestamptz NOT NULL,
        used_at timestamptz,
        successor_salt bytea CHECK (octet_length(successor_salt) = 32),
        successor_digest bytea CHECK (octet_length(successor_digest) = 32),
        CONSTRAINT refresh_tokens_used_whole
            CHECK (num_nulls(used_at, successor_salt, successor_digest) IN (0, 3))
    );
    CREATE INDEX refresh_tokens_by_session ON identity.refresh_tokens (session_id);
    CREATE INDEX refresh_tokens_by_end ON identity.refresh_tokens (expires_at);
    ALTER TABLE identity.users ADD COLUMN sign_in_epoch bigint NOT NULL DEFAULT 0;
"""
_DEVICES = """
    CREATE TABLE identity.devices (
        user_id uuid NOT NULL REFERENCES identity.users,
        program text NOT NULL CHECK (char_length(program) <= 32),
        first_used_at timestamptz NOT NULL,
        last_used_at timestamptz NOT NULL,
        PRIMARY KEY (user_id, program)
    );
    CREATE INDEX devices_by_use ON identity.devices (last_used_at);
    CREATE TABLE identity.remembered_devices (
        id uuid PRIMARY KEY,
        digest bytea NOT NULL CONSTRAINT remembered_devices_digest_unique UNIQUE
            CHECK (octet_length(digest) = 32),
        user_id uuid NOT NULL REFERENCES identity.users,
        made_at timestamptz NOT NULL,
        last_used_at timestamptz NOT NULL
    );
    CREATE INDEX remembered_devices_of_user ON identity.remembered_devices (user_id);
    CREATE INDEX remembered_devices_by_use ON identity.remembered_devices (last_used_at);
"""
# Names and addresses are kept as keyed digests: nobody can read here who was guessed at.
_FAILURES = """
    CREATE TABLE identity.sign_in_failures (
        id uuid PRIMARY KEY,
        failures integer NOT NULL CHECK (failures >= 0),
        last_at timestamptz NOT NULL,
        blocked_until timestamptz
    );
    CREATE INDEX sign_in_failures_by_age ON identity.sign_in_failures (last_at);
"""
_GRANTS = """
    GRANT UPDATE (expires_at, user_agent, client_address, last_used_at, ended_at, end_reason)
        ON identity.sessions TO guilder_identity;
    GRANT DELETE ON identity.sessions TO guilder_identity;
    GRANT SELECT, INSERT, DELETE ON identity.refresh_tokens, identity.devices,
        identity.remembered_devices, identity.sign_in_failures TO guilder_identity;
    GRANT UPDATE (used_at, successor_salt, successor_digest) ON identity.refresh_tokens
        TO guilder_identity;
    GRANT UPDATE (last_used_at) ON identity.devices, identity.remembered_devices
        TO guilder_identity;
    GRANT UPDATE (failures, last_at, blocked_until) ON identity.sign_in_failures
        TO guilder_identity;
    GRANT UPDATE (sign_in_epoch) ON identity.users TO guilder_identity;
"""


def upgrade() -> None:
    """Add what sessions need, beside what the code that is running reads and writes."""
    op.execute(_SESSIONS + _DEVICES + _FAILURES + _GRANTS)


def downgrade() -> None:
    """Forget refresh tokens and devices: everybody signs in again when their token ends."""
    op.execute("""
        REVOKE UPDATE (sign_in_epoch) ON identity.users FROM guilder_identity;
        REVOKE UPDATE (expires_at, user_agent, client_address, last_used_at, ended_at, end_reason)
            ON identity.sessions FROM guilder_identity;
        REVOKE DELETE ON identity.sessions FROM guilder_identity;
        DROP TABLE identity.sign_in_failures, identity.remembered_devices, identity.devices,
            identity.refresh_tokens;
        DROP INDEX identity.sessions_by_end, identity.sessions_by_account;
        ALTER TABLE identity.users DROP COLUMN sign_in_epoch;
        ALTER TABLE identity.sessions DROP CONSTRAINT sessions_end_whole,
            DROP COLUMN client_address, DROP COLUMN methods, DROP COLUMN last_used_at,
            DROP COLUMN ended_at, DROP COLUMN end_reason;
    """)
