"""Several processes under one parent: what the parent does when one of them fails."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import pytest

from guilder.apps.workers import Duty, Workers
from guilder.platform.startup import CannotStart


def fail(_ready: Callable[[], None]) -> None:
    raise RuntimeError("no port, no keys, no hope")


def wait(ready: Callable[[], None]) -> None:
    ready()
    signal.pause()


def children() -> set[str]:
    """This process's children; a test run has some of its own, its PostgreSQL among them."""
    lists = Path("/proc/self/task").glob("*/children")
    return {pid for each in lists for pid in each.read_text().split()}


def test_a_worker_that_fails_at_the_start_stops_the_others_and_is_named():
    duties = [Duty(name="background", run=wait), Duty(name="http-1", run=fail)]
    before = children()

    with pytest.raises(CannotStart, match="http-1 could not start"):
        Workers(duties, server=None, ready=lambda: None).run()

    assert children() == before


def test_ready_is_told_once_when_all_are_and_a_signal_ends_all():
    duties = [Duty(name=name, run=wait) for name in ("http-1", "http-2", "background")]
    told = []

    def ready() -> None:
        told.append("ready")
        os.kill(os.getpid(), signal.SIGTERM)

    Workers(duties, server=None, ready=ready).run()

    assert told == ["ready"]


def test_a_worker_that_does_not_heed_the_signal_is_killed():
    context = get_context("fork")
    parent = context.Process(target=stubborn_house)
    parent.start()
    parent.join(60)

    assert parent.exitcode == 0


def stubborn_house() -> None:
    def ignore(ready: Callable[[], None]) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        ready()
        while True:
            signal.pause()

    workers = Workers(
        [Duty(name="http-1", run=ignore)],
        server=None,
        ready=lambda: os.kill(os.getpid(), signal.SIGTERM),
        patience_s=0.2,
    )
    workers.run()
