"""Work that is done later, at times, or again when it fails; queued in the caller's transaction.

A worker holds a job by a lease with a fencing token, and every commit for a job asks the database
whether the token still counts. A worker that was frozen while another took over commits nothing.
"""

from guilder.platform.jobs.cron import Cron
from guilder.platform.jobs.held import Held, LeaseLost
from guilder.platform.jobs.queue import enqueue
from guilder.platform.jobs.task import Schedule, Task
from guilder.platform.jobs.worker import Worker

__all__ = ["Cron", "Held", "LeaseLost", "Schedule", "Task", "Worker", "enqueue"]
