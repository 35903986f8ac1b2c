"""What must be true of roles, of who has them, and of users whom staff have frozen."""

from __future__ import annotations

from typing import Final

from guilder.platform.checks import Check, sql_check

CHECKS: Final[tuple[Check, ...]] = (
    sql_check(
        "identity.frozen_users_have_a_freeze",
        table="identity.users",
        invariant="a user is frozen if and only if staff have frozen them and not ended it",
        query="""
            SELECT u.id::text, 'it is ' || u.status || ', with open freezes: ' || count(f.id)
            FROM identity.users u
            LEFT JOIN identity.freezes f ON f.user_id = u.id AND f.unfrozen_at IS NULL
            WHERE u.status <> 'erased'
            GROUP BY u.id, u.status
            HAVING (u.status = 'frozen') <> (count(f.id) = 1)
        """,
    ),
    sql_check(
        "identity.frozen_users_have_no_session",
        table="identity.sessions",
        invariant="no session of a frozen user goes on",
        query="""
            SELECT s.id::text, 'its user ' || u.id || ' is frozen'
            FROM identity.sessions s
            JOIN identity.accounts a ON a.id = s.account_id
            JOIN identity.users u ON u.id = a.user_id
            WHERE u.status = 'frozen' AND s.ended_at IS NULL AND s.expires_at > clock_timestamp()
        """,
    ),
    sql_check(
        "identity.accounts_have_their_role",
        table="identity.role_assignments",
        invariant="customers' and user-admin accounts have the role that comes with them, no other "
        "account has it, and a user-admin account has nothing else",
        query="""
            SELECT a.id::text, format('a %s account has: %s', a.type,
                COALESCE(string_agg(r.role, ', ' ORDER BY r.role), 'nothing'))
            FROM identity.accounts a
            JOIN identity.users u ON u.id = a.user_id AND u.status <> 'erased'
            LEFT JOIN identity.role_assignments r ON r.account_id = a.id
            GROUP BY a.id, a.type
            HAVING count(*) FILTER (WHERE r.role IN ('customer', 'user_admin')
                        AND r.role <> a.type) > 0
                OR (a.type <> 'staff' AND count(*) FILTER (WHERE r.role = a.type) <> 1)
                OR (a.type = 'user_admin' AND count(r.role) <> 1)
        """,
    ),
    sql_check(
        "identity.somebody_administrates",
        table="identity.role_assignments",
        invariant="once there was an administrator, there is one who can sign in",
        query="""
            SELECT 'admin', 'each of ' || count(*) || ' administrators is frozen or erased'
            FROM identity.role_assignments r
            JOIN identity.accounts a ON a.id = r.account_id
            JOIN identity.users u ON u.id = a.user_id
            WHERE r.role = 'admin'
            HAVING count(*) > 0
                AND count(*) FILTER (WHERE u.status NOT IN ('frozen', 'erased')) = 0
        """,
    ),
)
