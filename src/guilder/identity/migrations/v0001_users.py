"""Users with their accounts, roles and sessions."""

from alembic import op

revision = "v0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the four tables. The application may read and add, not change or delete."""
    op.execute("""
        CREATE TABLE identity.users (
            id uuid PRIMARY KEY,
            email text NOT NULL,
            email_key text NOT NULL CONSTRAINT users_email_unique UNIQUE,
            phone text CONSTRAINT users_phone_unique UNIQUE,
            full_name text NOT NULL,
            password_hash text NOT NULL,
            status text NOT NULL DEFAULT 'pending',
            kyc_status text NOT NULL DEFAULT 'pending',
            created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            CONSTRAINT users_status_known CHECK (status IN ('pending', 'active')),
            CONSTRAINT users_phone_is_e164 CHECK (phone ~ '^[+][0-9]{4,15}$'),
            CONSTRAINT users_name_length CHECK (char_length(full_name) BETWEEN 1 AND 200),
            CONSTRAINT users_password_is_hashed CHECK (password_hash LIKE '$argon2id$%')
        );
        CREATE TABLE identity.accounts (
            id uuid PRIMARY KEY,
            user_id uuid NOT NULL REFERENCES identity.users,
            type text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            CONSTRAINT accounts_one_of_each_type UNIQUE (user_id, type),
            CONSTRAINT accounts_type_known CHECK (type IN ('customer', 'user_admin', 'staff')),
            CONSTRAINT accounts_own_id CHECK ((id = user_id) = (type <> 'user_admin'))
        );
        CREATE TABLE identity.role_assignments (
            account_id uuid NOT NULL REFERENCES identity.accounts,
            role text NOT NULL,
            assigned_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            PRIMARY KEY (account_id, role),
            CONSTRAINT role_assignments_role_known CHECK (role IN (
                'customer', 'user_admin', 'support', 'compliance', 'operations', 'admin'
            ))
        );
        CREATE TABLE identity.sessions (
            id uuid PRIMARY KEY,
            account_id uuid NOT NULL REFERENCES identity.accounts,
            user_agent text,
            started_at timestamptz NOT NULL,
            expires_at timestamptz NOT NULL,
            CONSTRAINT sessions_end_after_start CHECK (expires_at > started_at)
        );
        GRANT SELECT, INSERT ON identity.users, identity.accounts, identity.role_assignments,
            identity.sessions TO guilder_identity;
    """)


def downgrade() -> None:
    """Drop everybody."""
    op.execute("""
        DROP TABLE identity.sessions;
        DROP TABLE identity.role_assignments;
        DROP TABLE identity.accounts;
        DROP TABLE identity.users;
    """)
