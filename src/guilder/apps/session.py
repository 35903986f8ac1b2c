"""What every command begins with: settings, logs, failpoints."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from guilder.apps.signals import end_on_term
from guilder.platform import failpoints, origin
from guilder.platform.identifiers import new_id
from guilder.platform.origin import Origin
from guilder.platform.settings import Settings, load_here
from guilder.platform.telemetry import configure_logging


def begin(*, quiet: bool = False) -> Settings:
    """Read the settings, and set up what holds for this whole process.

    Call it once everything is imported that declares failpoints.

    Raises:
        WrongSettings: a setting cannot be used.
        WrongFailpoints: a failpoint does not exist.
    """
    settings, warnings = load_here()
    if not quiet:
        for warning in warnings:
            say(f"Warning: {warning}")
    configure_logging(level=settings.log_level.value, as_json=settings.logs_json)
    failpoints.arm(settings.failpoints)
    end_on_term()
    return settings


@contextmanager
def as_operator() -> Iterator[None]:
    """Let what the block changes be known as done on the command line, and as done together."""
    before = origin.current()
    origin.begin(Origin(request_id=f"command-line-{new_id()}"))
    try:
        yield
    finally:
        origin.begin(before)


def say(line: str) -> None:
    """Tell whoever typed the command something, beside what the command prints."""
    print(line, file=sys.stderr, flush=True)
