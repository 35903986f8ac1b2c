"""What must be true of machine clients and of links to outside providers."""

from __future__ import annotations

from typing import Final

from guilder.identity.domain.clients import FOR_PEOPLE, MOST_CLIENTS
from guilder.platform.checks import Check, sql_check

_FOR_PEOPLE: Final = ", ".join(f"'{name}'" for name in sorted(FOR_PEOPLE))

CHECKS: Final[tuple[Check, ...]] = (
    sql_check(
        "identity.clients_have_no_power_over_people",
        table="identity.clients",
        invariant="no machine client has a scope that is for people",
        query=f"""
            SELECT id::text, 'its scopes are ' || array_to_string(scopes, ' ')
            FROM identity.clients WHERE scopes && ARRAY[{_FOR_PEOPLE}]
        """,
    ),
    sql_check(
        "identity.clients_are_few",
        table="identity.clients",
        invariant=f"nobody has more than {MOST_CLIENTS} machine clients",
        query=f"""
            SELECT owner_id::text, 'there are ' || count(*) FROM identity.clients
            WHERE owner_id IS NOT NULL GROUP BY owner_id HAVING count(*) > {MOST_CLIENTS}
        """,
    ),
    sql_check(
        "identity.the_erased_have_no_way_in",
        table="identity.users",
        invariant="an erased user has no machine client and no link to a provider",
        query="""
            SELECT u.id::text, 'something still acts or signs in for them'
            FROM identity.users u
            WHERE u.status = 'erased' AND (
                EXISTS (SELECT FROM identity.clients c WHERE c.owner_id = u.id)
                OR EXISTS (SELECT FROM identity.outside_identities i WHERE i.user_id = u.id)
            )
        """,
    ),
)
"""All of it."""
