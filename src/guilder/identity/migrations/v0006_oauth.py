"""Machine clients with their secrets' digests, and sign-in with outside providers."""

from alembic import op

revision = "v0006"
down_revision = "v0005"
branch_labels = None
depends_on = None

# Secrets are random and long, so a plain digest hides them; whoever reads it can do nothing.
_CLIENTS = """
    CREATE TABLE identity.clients (
        id uuid PRIMARY KEY,
        owner_id uuid REFERENCES identity.users,
        name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 120),
        scopes text[] NOT NULL CHECK (cardinality(scopes) BETWEEN 1 AND 200),
        secret_digest bytea NOT NULL CHECK (octet_length(secret_digest) = 32),
        previous_digest bytea CHECK (octet_length(previous_digest) = 32),
        previous_until timestamptz,
        tokens_id uuid NOT NULL,
        made_by uuid NOT NULL,
        made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        rotated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        last_used_at timestamptz,
        CONSTRAINT clients_previous_secret_ends
            CHECK ((previous_digest IS NULL) = (previous_until IS NULL))
    );
    CREATE INDEX clients_by_owner ON identity.clients (owner_id, id);
    GRANT SELECT, INSERT, DELETE ON identity.clients TO guilder_identity;
    GRANT UPDATE (secret_digest, previous_digest, previous_until, tokens_id, rotated_at,
        last_used_at) ON identity.clients TO guilder_identity;
"""
# A subject is a pseudonym under a key outside the database: no provider's id of a person is here.
_OUTSIDE = """
    CREATE TABLE identity.outside_identities (
        provider text NOT NULL CHECK (provider ~ '^[a-z][a-z0-9_]{0,29}$'),
        subject_key uuid NOT NULL,
        user_id uuid NOT NULL REFERENCES identity.users,
        linked_by text NOT NULL CHECK (linked_by IN ('user', 'email')),
        linked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        last_used_at timestamptz,
        PRIMARY KEY (provider, subject_key),
        CONSTRAINT outside_identities_one_of_each UNIQUE (user_id, provider)
    );
    CREATE TABLE identity.outside_flows (
        state_digest bytea PRIMARY KEY CHECK (octet_length(state_digest) = 32),
        browser_digest bytea NOT NULL CHECK (octet_length(browser_digest) = 32),
        provider text NOT NULL,
        link_user_id uuid REFERENCES identity.users,
        link_session_id uuid,
        expires_at timestamptz NOT NULL,
        CONSTRAINT outside_flows_link_has_a_session
            CHECK ((link_user_id IS NULL) = (link_session_id IS NULL))
    );
    CREATE INDEX outside_flows_by_end ON identity.outside_flows (expires_at);
    CREATE INDEX outside_flows_by_user ON identity.outside_flows (link_user_id)
        WHERE link_user_id IS NOT NULL;
    GRANT SELECT, INSERT, DELETE ON identity.outside_identities, identity.outside_flows
        TO guilder_identity;
    GRANT UPDATE (last_used_at) ON identity.outside_identities TO guilder_identity;
"""


def upgrade() -> None:
    """Create the tables and their grants."""
    op.execute(_CLIENTS + _OUTSIDE)


def downgrade() -> None:
    """Drop them: machine clients are gone, and everybody signs in with what is theirs here."""
    op.execute("""
        DROP TABLE identity.outside_flows, identity.outside_identities, identity.clients;
    """)
