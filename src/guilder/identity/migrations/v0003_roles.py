"""Roles of their own, revocations that reach every process, and users whom staff have frozen."""

from alembic import op

revision = "v0003"
down_revision = "v0002"
branch_labels = None
depends_on = None

_ROLES = """
    CREATE TABLE identity.roles (
        name text PRIMARY KEY,
        description text NOT NULL,
        permissions text[] NOT NULL DEFAULT '{}',
        comes_with_guilder boolean NOT NULL DEFAULT false,
        made_by uuid,
        changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        CONSTRAINT roles_name_readable CHECK (name ~ '^[a-z][a-z0-9_]{1,39}$'),
        CONSTRAINT roles_release_says_what_they_grant
            CHECK (NOT comes_with_guilder OR permissions = '{}')
    );
    INSERT INTO identity.roles (name, description, comes_with_guilder) VALUES
        ('customer', 'Has wallets and moves the money in them.', true),
        ('user_admin', 'Sees the codes that confirm what a customer does.', true),
        ('support', 'Looks at users, wallets and payments to help people.', true),
        ('compliance', 'Looks at everything, the audit included, and freezes.', true),
        ('operations', 'Runs the ledger, corrects and freezes.', true),
        ('admin', 'May do everything that staff may, and appoints staff.', true);
    CREATE TABLE identity.permissions (
        name text PRIMARY KEY,
        meaning text NOT NULL,
        made_by uuid NOT NULL,
        made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        CONSTRAINT permissions_name_readable
            CHECK (name ~ '^[a-z][a-z0-9_]{1,39}:[a-z][a-z0-9_]{1,39}$')
    );
    ALTER TABLE identity.role_assignments DROP CONSTRAINT role_assignments_role_known;
    ALTER TABLE identity.role_assignments ADD CONSTRAINT role_assignments_role_known
        FOREIGN KEY (role) REFERENCES identity.roles (name);
    CREATE INDEX role_assignments_by_role ON identity.role_assignments (role);
"""
_REVOCATIONS = """
    CREATE TABLE identity.revocations (
        position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
        made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        kind text NOT NULL,
        subject_id uuid,
        roles text[],
        CONSTRAINT revocations_kind_known CHECK (kind IN (
            'session_ended', 'token_ended', 'user_frozen', 'user_unfrozen', 'roles_changed',
            'definitions_changed'
        )),
        CONSTRAINT revocations_have_a_subject
            CHECK ((kind = 'definitions_changed') = (subject_id IS NULL)),
        CONSTRAINT revocations_say_the_roles
            CHECK ((kind = 'roles_changed') = (roles IS NOT NULL))
    );
    CREATE INDEX revocations_by_transaction ON identity.revocations (transaction);
    CREATE INDEX revocations_by_age ON identity.revocations (made_at);
"""
_FREEZES = """
    ALTER TABLE identity.users DROP CONSTRAINT users_status_known;
    ALTER TABLE identity.users ADD CONSTRAINT users_status_known
        CHECK (status IN ('pending', 'active', 'frozen', 'erased'));
    CREATE TABLE identity.freezes (
        id uuid PRIMARY KEY,
        user_id uuid NOT NULL REFERENCES identity.users,
        status_before text NOT NULL,
        reason text NOT NULL,
        frozen_by uuid NOT NULL,
        frozen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        unfrozen_by uuid,
        unfrozen_at timestamptz,
        unfreeze_reason text,
        CONSTRAINT freezes_status_before CHECK (status_before IN ('pending', 'active')),
        CONSTRAINT freezes_end_whole CHECK (
            num_nulls(unfrozen_by, unfrozen_at, unfreeze_reason) IN (0, 3)
        )
    );
    CREATE UNIQUE INDEX freezes_one_at_a_time ON identity.freezes (user_id)
        WHERE unfrozen_at IS NULL;
"""
_GRANTS = """
    GRANT SELECT, INSERT, DELETE ON identity.roles, identity.revocations TO guilder_identity;
    GRANT UPDATE (description, permissions, changed_at) ON identity.roles TO guilder_identity;
    GRANT SELECT, INSERT ON identity.permissions, identity.freezes TO guilder_identity;
    GRANT UPDATE (unfrozen_by, unfrozen_at, unfreeze_reason) ON identity.freezes
        TO guilder_identity;
    GRANT UPDATE (status) ON identity.users TO guilder_identity;
    GRANT DELETE ON identity.role_assignments TO guilder_identity;
"""


def upgrade() -> None:
    """Create the tables, with the roles that come with Guilder; let a user's status change."""
    op.execute(_ROLES + _REVOCATIONS + _FREEZES + _GRANTS)


def downgrade() -> None:
    """Forget every role but those that come with Guilder; whoever is frozen is pending again."""
    op.execute("""
        REVOKE DELETE ON identity.role_assignments FROM guilder_identity;
        REVOKE UPDATE (status) ON identity.users FROM guilder_identity;
        UPDATE identity.users SET status = 'pending' WHERE status IN ('frozen', 'erased');
        ALTER TABLE identity.users DROP CONSTRAINT users_status_known;
        ALTER TABLE identity.users ADD CONSTRAINT users_status_known
            CHECK (status IN ('pending', 'active'));
        ALTER TABLE identity.role_assignments DROP CONSTRAINT role_assignments_role_known;
        DROP INDEX identity.role_assignments_by_role;
        DELETE FROM identity.role_assignments WHERE role NOT IN
            (SELECT name FROM identity.roles WHERE comes_with_guilder);
        ALTER TABLE identity.role_assignments ADD CONSTRAINT role_assignments_role_known
            CHECK (role IN (
                'customer', 'user_admin', 'support', 'compliance', 'operations', 'admin'
            ));
        DROP TABLE identity.freezes;
        DROP TABLE identity.revocations;
        DROP TABLE identity.permissions;
        DROP TABLE identity.roles;
    """)
