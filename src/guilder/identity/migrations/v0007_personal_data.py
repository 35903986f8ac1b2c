"""Personal data under a key per person, found by a blind index, and forgotten with the key.

Emails, phones and names that were written before stay readable until
``guilder keys rotate-personal`` or the worker has encrypted them.
"""

from alembic import op

revision = "v0007"
down_revision = "v0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the encrypted columns beside the plain ones, the keys, the index, holds and erasures."""
    op.execute(_USERS)
    op.execute(_KEYS)
    op.execute(_ERASURE)


def downgrade() -> None:
    """Drop the keys: whoever was encrypted meanwhile is unreadable, and goes, with all they had."""
    op.execute("""
        DROP TABLE identity.erasures, identity.legal_holds, identity.personal_rotations,
            identity.contact_digests, identity.index_keys, identity.person_keys;
        DROP FUNCTION identity.refuse_change();
        REVOKE UPDATE (reason) ON identity.freezes FROM guilder_identity;
        ALTER TABLE identity.users DROP CONSTRAINT users_personal_whole;
        UPDATE identity.users SET email = id || '@gone.invalid', email_key = id::text,
            full_name = 'Gone' WHERE email IS NULL;
        REVOKE UPDATE (email, email_key, phone, full_name) ON identity.users
            FROM guilder_identity;
        ALTER TABLE identity.users DROP COLUMN email_sealed, DROP COLUMN phone_sealed,
            DROP COLUMN full_name_sealed, ALTER COLUMN email SET NOT NULL,
            ALTER COLUMN email_key SET NOT NULL, ALTER COLUMN full_name SET NOT NULL;
    """)


_USERS = """
    ALTER TABLE identity.users
        ADD COLUMN email_sealed bytea,
        ADD COLUMN phone_sealed bytea,
        ADD COLUMN full_name_sealed bytea,
        ALTER COLUMN email DROP NOT NULL,
        ALTER COLUMN email_key DROP NOT NULL,
        ALTER COLUMN full_name DROP NOT NULL,
        ADD CONSTRAINT users_personal_whole CHECK (
            CASE
                WHEN status = 'erased' THEN num_nonnulls(email, email_key, phone, full_name,
                    email_sealed, phone_sealed, full_name_sealed) = 0
                WHEN email_sealed IS NULL THEN num_nulls(email, email_key, full_name) = 0
                    AND num_nonnulls(phone_sealed, full_name_sealed) = 0
                ELSE num_nonnulls(email, email_key, phone, full_name) = 0
                    AND full_name_sealed IS NOT NULL
            END
        );
    CREATE INDEX users_not_encrypted ON identity.users (id) WHERE email IS NOT NULL;
    GRANT UPDATE (email, email_key, phone, full_name, email_sealed, phone_sealed,
        full_name_sealed) ON identity.users TO guilder_identity;
"""

_KEYS = """
    CREATE TABLE identity.person_keys (
        user_id uuid PRIMARY KEY REFERENCES identity.users,
        id uuid NOT NULL CONSTRAINT person_keys_id_unique UNIQUE,
        wrapped bytea,
        made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        destroyed_at timestamptz,
        CONSTRAINT person_keys_destroyed_whole
            CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL))
    );
    CREATE FUNCTION identity.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% on %.% is refused: what was destroyed stays so',
            TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END $$;
    CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON identity.person_keys
        FOR EACH STATEMENT EXECUTE FUNCTION identity.refuse_change();
    CREATE TRIGGER destroyed_for_good BEFORE UPDATE ON identity.person_keys
        FOR EACH ROW WHEN (OLD.destroyed_at IS NOT NULL)
        EXECUTE FUNCTION identity.refuse_change();

    CREATE TABLE identity.index_keys (
        id uuid PRIMARY KEY,
        used_since timestamptz NOT NULL DEFAULT clock_timestamp()
    );
    INSERT INTO identity.index_keys (id) VALUES ('00000000-0000-0000-0000-000000000001');
    CREATE TABLE identity.contact_digests (
        kind text NOT NULL,
        digest bytea NOT NULL,
        key_id uuid NOT NULL,
        user_id uuid NOT NULL REFERENCES identity.users,
        PRIMARY KEY (kind, digest),
        CONSTRAINT contact_digests_kind_known CHECK (kind IN ('email', 'phone')),
        CONSTRAINT contact_digests_size CHECK (octet_length(digest) = 32)
    );
    CREATE INDEX contact_digests_by_user ON identity.contact_digests (user_id);
    CREATE INDEX contact_digests_by_key ON identity.contact_digests (key_id);

    CREATE TABLE identity.personal_rotations (
        id uuid PRIMARY KEY,
        new_keys boolean NOT NULL,
        started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        finished_at timestamptz
    );
    CREATE UNIQUE INDEX personal_rotations_one_at_a_time
        ON identity.personal_rotations ((true)) WHERE finished_at IS NULL;

    GRANT SELECT, INSERT ON identity.person_keys, identity.personal_rotations TO guilder_identity;
    GRANT UPDATE (id, wrapped, made_at, destroyed_at) ON identity.person_keys TO guilder_identity;
    GRANT UPDATE (finished_at) ON identity.personal_rotations TO guilder_identity;
    GRANT SELECT, INSERT, DELETE ON identity.index_keys, identity.contact_digests
        TO guilder_identity;
"""

_ERASURE = """
    CREATE TABLE identity.legal_holds (
        id uuid PRIMARY KEY,
        user_id uuid NOT NULL REFERENCES identity.users,
        reason text NOT NULL,
        placed_by uuid NOT NULL,
        placed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        lifted_by uuid,
        lifted_at timestamptz,
        CONSTRAINT legal_holds_lifted_whole CHECK ((lifted_by IS NULL) = (lifted_at IS NULL))
    );
    CREATE UNIQUE INDEX legal_holds_one_at_a_time ON identity.legal_holds (user_id)
        WHERE lifted_at IS NULL;
    CREATE TABLE identity.erasures (
        user_id uuid PRIMARY KEY REFERENCES identity.users,
        reason text NOT NULL,
        erased_by uuid,
        erased_at timestamptz NOT NULL DEFAULT clock_timestamp()
    );
    CREATE TRIGGER for_good BEFORE UPDATE OR DELETE OR TRUNCATE ON identity.erasures
        FOR EACH STATEMENT EXECUTE FUNCTION identity.refuse_change();
    GRANT SELECT, INSERT ON identity.legal_holds, identity.erasures TO guilder_identity;
    GRANT UPDATE (reason, lifted_by, lifted_at) ON identity.legal_holds TO guilder_identity;
    GRANT UPDATE (reason) ON identity.freezes TO guilder_identity;
"""
