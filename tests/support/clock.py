"""A clock of a test database's own: put forward, or set back, as a server's may be."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from tests.support.tampering import Connection

# Found before PostgreSQL's own by whoever asks for the time, the code's SQL and the checks alike.
# The days begin at noon in the middle of a month to come, so that no run meets a midnight that it
# did not wait for.
_CLOCK: Final = """
    CREATE SCHEMA simulated;
    CREATE TABLE simulated.clock (ahead interval NOT NULL);
    INSERT INTO simulated.clock
    SELECT date_trunc('month', moment) + interval '2 months 14 days 6.5 hours' - moment
    FROM (SELECT pg_catalog.now() AT TIME ZONE 'UTC' AS moment) AS today;
    CREATE FUNCTION simulated.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS
        'BEGIN RETURN pg_catalog.clock_timestamp() + (SELECT ahead FROM simulated.clock); END';
    CREATE FUNCTION simulated.now() RETURNS timestamptz LANGUAGE plpgsql STABLE AS
        'BEGIN RETURN pg_catalog.now() + (SELECT ahead FROM simulated.clock); END';
    CREATE FUNCTION simulated.statement_timestamp() RETURNS timestamptz LANGUAGE plpgsql STABLE AS
        'BEGIN RETURN pg_catalog.statement_timestamp() + (SELECT ahead FROM simulated.clock); END';
    GRANT USAGE ON SCHEMA simulated TO PUBLIC;
    GRANT SELECT ON simulated.clock TO PUBLIC
"""
_SEARCHED: Final = """
    DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = simulated, pg_catalog, public',
        current_database()); END $$
"""
_PUT_FORWARD: Final = "UPDATE simulated.clock SET ahead = ahead + $1"


async def set_clock(superuser: Connection) -> None:
    """Give a database a clock that can be put forward. Sessions have it that begin from now on."""
    await superuser.execute(_CLOCK)
    await superuser.execute(_SEARCHED)


async def put_forward(superuser: Connection, by: timedelta) -> None:
    """Let it be later by so much, or earlier where that is negative."""
    await superuser.execute(_PUT_FORWARD, by)
