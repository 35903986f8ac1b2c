"""Second factors: TOTP, recovery codes, passkeys."""

from alembic import op

revision = "v0005"
down_revision = "v0004"
branch_labels = None
depends_on = None

_FACTORS = """
    CREATE TABLE identity.totp (
        user_id uuid PRIMARY KEY REFERENCES identity.users,
        sealed_secret bytea NOT NULL,
        confirm_by timestamptz NOT NULL,
        confirmed_at timestamptz,
        last_step bigint NOT NULL DEFAULT 0,
        failures integer NOT NULL DEFAULT 0,
        blocked_until timestamptz
    );
    CREATE TABLE identity.recovery_codes (
        user_id uuid NOT NULL REFERENCES identity.users,
        digest bytea NOT NULL CHECK (octet_length(digest) = 32),
        used_at timestamptz,
        PRIMARY KEY (user_id, digest)
    );
    CREATE TABLE identity.passkeys (
        id uuid PRIMARY KEY,
        user_id uuid NOT NULL REFERENCES identity.users,
        credential_id bytea NOT NULL CONSTRAINT passkeys_credential_unique UNIQUE
            CHECK (octet_length(credential_id) BETWEEN 1 AND 1023),
        public_key bytea NOT NULL,
        sign_count bigint NOT NULL,
        is_synced boolean NOT NULL,
        transports text[] NOT NULL,
        name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
        added_at timestamptz NOT NULL,
        last_used_at timestamptz
    );
    CREATE INDEX passkeys_of_user ON identity.passkeys (user_id);
"""
# Secrets that callers hold are kept as digests, and all of this is over within minutes.
_MOMENTS = """
    CREATE TABLE identity.sign_in_challenges (
        digest bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
        account_id uuid NOT NULL REFERENCES identity.accounts,
        sign_in_epoch integer NOT NULL,
        methods text[] NOT NULL,
        network text NOT NULL,
        expires_at timestamptz NOT NULL,
        tries smallint NOT NULL DEFAULT 0,
        completed_at timestamptz
    );
    CREATE INDEX sign_in_challenges_by_end ON identity.sign_in_challenges (expires_at);
    CREATE TABLE identity.passkey_ceremonies (
        digest bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
        purpose text NOT NULL CHECK (purpose IN ('register', 'sign_in', 'step_up')),
        session_id uuid,
        expires_at timestamptz NOT NULL,
        used_at timestamptz,
        CHECK ((session_id IS NULL) = (purpose = 'sign_in'))
    );
    CREATE INDEX passkey_ceremonies_by_end ON identity.passkey_ceremonies (expires_at);
    CREATE TABLE identity.step_ups (
        session_id uuid PRIMARY KEY,
        proved_at timestamptz,
        by_factor boolean NOT NULL DEFAULT false,
        failures integer NOT NULL DEFAULT 0,
        blocked_until timestamptz,
        touched_at timestamptz NOT NULL
    );
    CREATE INDEX step_ups_by_age ON identity.step_ups (touched_at);
    CREATE TABLE identity.factor_attempts (
        id uuid PRIMARY KEY,
        done_at timestamptz NOT NULL DEFAULT clock_timestamp()
    );
    CREATE INDEX factor_attempts_by_age ON identity.factor_attempts (done_at);
"""
_GRANTS = """
    GRANT SELECT, INSERT, DELETE ON identity.totp, identity.recovery_codes, identity.passkeys,
        identity.sign_in_challenges, identity.passkey_ceremonies, identity.step_ups,
        identity.factor_attempts TO guilder_identity;
    GRANT UPDATE (sealed_secret, confirm_by, confirmed_at, last_step, failures, blocked_until)
        ON identity.totp TO guilder_identity;
    GRANT UPDATE (used_at) ON identity.recovery_codes TO guilder_identity;
    GRANT UPDATE (sign_count, is_synced, last_used_at) ON identity.passkeys TO guilder_identity;
    GRANT UPDATE (tries, completed_at) ON identity.sign_in_challenges TO guilder_identity;
    GRANT UPDATE (used_at) ON identity.passkey_ceremonies TO guilder_identity;
    GRANT UPDATE (proved_at, by_factor, failures, blocked_until, touched_at)
        ON identity.step_ups TO guilder_identity;
"""


def upgrade() -> None:
    """Create the tables and their grants."""
    op.execute(_FACTORS + _MOMENTS + _GRANTS)


def downgrade() -> None:
    """Drop everything: whoever has a second factor signs in without it from then on."""
    op.execute("""
        DROP TABLE identity.factor_attempts, identity.step_ups, identity.passkey_ceremonies,
            identity.sign_in_challenges, identity.passkeys, identity.recovery_codes,
            identity.totp;
    """)
