"""What must be true of personal data: everybody has a key and is found, the erased have none."""

from __future__ import annotations

from typing import Final

from guilder.platform.checks import Check, sql_check

CHECKS: Final[tuple[Check, ...]] = (
    sql_check(
        "keys of people",
        table="identity.users",
        invariant="what is encrypted of a user has the user's own key, which is there",
        query="""
            SELECT u.id::text,
                CASE WHEN k.user_id IS NULL THEN 'there is no key'
                    WHEN k.wrapped IS NULL THEN 'the key was destroyed'
                    ELSE 'a field is encrypted with another key' END
            FROM identity.users u LEFT JOIN identity.person_keys k ON k.user_id = u.id
            WHERE u.email_sealed IS NOT NULL AND (
                k.wrapped IS NULL
                OR substring(u.email_sealed FROM 2 FOR 16) <> uuid_send(k.id)
                OR substring(u.full_name_sealed FROM 2 FOR 16) <> uuid_send(k.id)
                OR substring(u.phone_sealed FROM 2 FOR 16) <> uuid_send(k.id))
        """,
    ),
    sql_check(
        "people found",
        table="identity.contact_digests",
        invariant="a user's email and phone have one digest under each key of the index in use",
        query="""
            SELECT u.id::text, 'the digests of email and phone are ' || (
                SELECT count(*) FROM identity.contact_digests d WHERE d.user_id = u.id)
            FROM identity.users u
            WHERE u.email_sealed IS NOT NULL AND EXISTS (
                SELECT FROM identity.index_keys i
                LEFT JOIN identity.contact_digests d ON d.key_id = i.id AND d.user_id = u.id
                GROUP BY i.id
                HAVING count(*) FILTER (WHERE d.kind = 'email') <> 1
                    OR count(*) FILTER (WHERE d.kind = 'phone')
                        <> CASE WHEN u.phone_sealed IS NULL THEN 0 ELSE 1 END)
        """,
    ),
    sql_check(
        "erased people",
        table="identity.erasures",
        invariant="an erased user has no key, no digest and no session, and nobody else is erased",
        query="""
            SELECT COALESCE(u.id, e.user_id)::text,
                CASE WHEN e.user_id IS NULL THEN 'nobody has erased them'
                    WHEN u.status IS DISTINCT FROM 'erased' THEN 'they are not erased'
                    WHEN k.user_id IS NULL OR k.wrapped IS NOT NULL THEN 'their key is not gone'
                    ELSE 'they can be found, or have a session' END
            FROM identity.users u
            FULL JOIN identity.erasures e ON e.user_id = u.id
            LEFT JOIN identity.person_keys k ON k.user_id = COALESCE(u.id, e.user_id)
            WHERE (u.status = 'erased' OR e.user_id IS NOT NULL) AND (
                e.user_id IS NULL OR u.status IS DISTINCT FROM 'erased'
                OR k.user_id IS NULL OR k.wrapped IS NOT NULL
                OR EXISTS (SELECT FROM identity.contact_digests d WHERE d.user_id = u.id)
                OR EXISTS (SELECT FROM identity.sessions s
                    JOIN identity.accounts a ON a.id = s.account_id WHERE a.user_id = u.id))
        """,
    ),
)
