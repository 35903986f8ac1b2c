"""Jobs that wait, run under a lease, and end; and schedules that make jobs."""

from alembic import op

revision = "v0003"
down_revision = "v0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the queue of jobs. ``ready_at`` is when a worker may take one; null once it ended."""
    op.execute("""
        CREATE TABLE platform.jobs (
            id uuid PRIMARY KEY,
            task text NOT NULL,
            key text,
            arguments jsonb NOT NULL,
            state text NOT NULL DEFAULT 'waiting'
                CHECK (state IN ('waiting', 'running', 'done', 'dead')),
            due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            ready_at timestamptz DEFAULT clock_timestamp(),
            token bigint NOT NULL DEFAULT 0,
            attempts integer NOT NULL DEFAULT 0,
            last_error text,
            created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            finished_at timestamptz,
            actor_id uuid,
            request_id text,
            trace_id text,
            CHECK ((state IN ('waiting', 'running')) = (ready_at IS NOT NULL)),
            CHECK ((state = 'done') = (finished_at IS NOT NULL))
        ) WITH (fillfactor = 70);
        CREATE INDEX jobs_ready ON platform.jobs (ready_at) WHERE ready_at IS NOT NULL;
        CREATE UNIQUE INDEX jobs_once ON platform.jobs (task, key)
            WHERE key IS NOT NULL AND state IN ('waiting', 'running');
        CREATE INDEX jobs_done ON platform.jobs (finished_at) WHERE state = 'done';
        CREATE INDEX jobs_dead ON platform.jobs (created_at) WHERE state = 'dead';

        CREATE TABLE platform.schedules (
            name text PRIMARY KEY,
            cron text NOT NULL,
            time_zone text NOT NULL,
            next_at timestamptz NOT NULL
        );
        GRANT SELECT, INSERT, UPDATE, DELETE
            ON platform.jobs, platform.schedules TO guilder_platform;

        CREATE VIEW check_v1.jobs AS
            SELECT id, task, state, due_at, attempts, created_at, finished_at FROM platform.jobs;
    """)


def downgrade() -> None:
    """Drop the queue; jobs that wait are lost."""
    op.execute("""
        DROP VIEW check_v1.jobs;
        DROP TABLE platform.schedules, platform.jobs;
    """)
