"""Verifications of operations, one-time codes, password resets, and contacts that are proved."""

from alembic import op

revision = "v0004"
down_revision = "v0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create what codes and verifications are kept in; users may change their password."""
    _verifications()
    _codes()
    op.execute("""
        ALTER TABLE identity.users
            ADD COLUMN email_verified_at timestamptz,
            ADD COLUMN phone_verified_at timestamptz;
        GRANT UPDATE (password_hash, status, email_verified_at, phone_verified_at)
            ON identity.users TO guilder_identity;
    """)


def downgrade() -> None:
    """Drop them: whoever waits for a code asks for another."""
    op.execute("""
        REVOKE UPDATE (password_hash, status, email_verified_at, phone_verified_at)
            ON identity.users FROM guilder_identity;
        ALTER TABLE identity.users DROP COLUMN email_verified_at, DROP COLUMN phone_verified_at;
        DROP TABLE identity.password_resets, identity.code_issues, identity.one_time_codes,
            identity.verifications;
    """)


def _verifications() -> None:
    op.execute("""
        CREATE TABLE identity.verifications (
            id uuid PRIMARY KEY,
            user_id uuid NOT NULL REFERENCES identity.users,
            account_id uuid NOT NULL REFERENCES identity.accounts,
            operation text NOT NULL,
            parameters bytea NOT NULL,
            shown jsonb NOT NULL,
            status text NOT NULL DEFAULT 'pending',
            tries integer NOT NULL DEFAULT 0,
            token_digest bytea CONSTRAINT verifications_token_unique UNIQUE,
            created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            expires_at timestamptz NOT NULL,
            ended_at timestamptz,
            used_by uuid,
            CONSTRAINT verifications_status_known CHECK (status IN (
                'pending', 'verified', 'used', 'cancelled', 'exhausted', 'expired'
            )),
            CONSTRAINT verifications_parameters_are_a_digest
                CHECK (octet_length(parameters) = 32),
            CONSTRAINT verifications_tokens CHECK (status <> 'pending' OR token_digest IS NULL),
            CONSTRAINT verifications_end
                CHECK ((status IN ('pending', 'verified')) = (ended_at IS NULL)),
            CONSTRAINT verifications_use CHECK ((status = 'used') = (used_by IS NOT NULL))
        );
        CREATE INDEX verifications_by_user ON identity.verifications (user_id, created_at);
        CREATE INDEX verifications_open ON identity.verifications (expires_at)
            WHERE status IN ('pending', 'verified');
        CREATE INDEX verifications_ended ON identity.verifications (ended_at)
            WHERE ended_at IS NOT NULL;
        GRANT SELECT, INSERT, DELETE ON identity.verifications TO guilder_identity;
        GRANT UPDATE (status, tries, token_digest, expires_at, ended_at, used_by)
            ON identity.verifications TO guilder_identity;
    """)


def _codes() -> None:
    op.execute("""
        CREATE TABLE identity.one_time_codes (
            name text PRIMARY KEY,
            secret bytea NOT NULL,
            tries integer NOT NULL DEFAULT 0,
            expires_at timestamptz NOT NULL
        );
        CREATE INDEX one_time_codes_by_end ON identity.one_time_codes (expires_at);
        CREATE TABLE identity.code_issues (
            id uuid PRIMARY KEY,
            name text NOT NULL,
            issued_at timestamptz NOT NULL DEFAULT clock_timestamp()
        );
        CREATE INDEX code_issues_by_name ON identity.code_issues (name, issued_at);
        CREATE INDEX code_issues_by_time ON identity.code_issues (issued_at);
        CREATE TABLE identity.password_resets (
            token_digest bytea PRIMARY KEY,
            user_id uuid NOT NULL REFERENCES identity.users,
            created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            expires_at timestamptz NOT NULL,
            used_by uuid,
            CONSTRAINT password_resets_tokens_are_digests
                CHECK (octet_length(token_digest) = 32)
        );
        CREATE INDEX password_resets_by_user ON identity.password_resets (user_id);
        CREATE INDEX password_resets_by_end ON identity.password_resets (expires_at);
        GRANT SELECT, INSERT, UPDATE, DELETE ON identity.one_time_codes TO guilder_identity;
        GRANT SELECT, INSERT, DELETE ON identity.code_issues, identity.password_resets
            TO guilder_identity;
        GRANT UPDATE (used_by) ON identity.password_resets TO guilder_identity;
    """)
