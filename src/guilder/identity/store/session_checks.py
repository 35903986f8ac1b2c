"""What must be true of sessions and their refresh tokens."""

from __future__ import annotations

from typing import Final

from guilder.platform.checks import Check, sql_check
from guilder.platform.standing import KEPT_S

CHECKS: Final[tuple[Check, ...]] = (
    sql_check(
        "identity.refresh_tokens_never_fork",
        table="identity.refresh_tokens",
        invariant="a session has one refresh token that was not used yet",
        query="""
            SELECT t.session_id::text,
                count(*) FILTER (WHERE t.used_at IS NULL) || ' refresh tokens are unused'
            FROM identity.refresh_tokens t JOIN identity.sessions s ON s.id = t.session_id
            WHERE s.expires_at > clock_timestamp()
            GROUP BY t.session_id
            HAVING count(*) FILTER (WHERE t.used_at IS NULL) <> 1
        """,
    ),
    sql_check(
        "identity.refresh_tokens_are_followed",
        table="identity.refresh_tokens",
        invariant="a used refresh token is followed by one of the same session",
        query="""
            SELECT encode(t.digest, 'hex'), 'what follows it is not there'
            FROM identity.refresh_tokens t
            WHERE t.used_at IS NOT NULL AND t.expires_at > clock_timestamp()
                AND NOT EXISTS (
                    SELECT FROM identity.refresh_tokens n
                    WHERE n.digest = t.successor_digest AND n.session_id = t.session_id
                        AND n.issued_at >= t.issued_at
                )
        """,
    ),
    sql_check(
        "identity.ended_sessions_are_revoked",
        table="identity.sessions",
        invariant="the tokens of a session that has ended are revoked as long as one can be valid",
        query=f"""
            SELECT s.id::text, 'it ended at ' || s.ended_at || ' and is not revoked'
            FROM identity.sessions s
            WHERE s.ended_at > clock_timestamp() - make_interval(secs => {KEPT_S} - 60)
                AND NOT EXISTS (
                    SELECT FROM identity.revocations r
                    WHERE r.kind = 'session_ended' AND r.subject_id = s.id
                )
        """,
    ),
)
