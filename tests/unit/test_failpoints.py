"""Failpoints: how they are written, and what they do."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from guilder.platform.failpoints import FailpointReached, Failpoints, WrongFailpoints

NAME = "test.somewhere"


@pytest.fixture
def points() -> Failpoints:
    made = Failpoints()
    made.declare(NAME, "A place that only this test passes.")
    return made


async def test_a_place_does_nothing_while_it_is_off(points: Failpoints):
    points.arm("")

    assert await points.reach(NAME) is None


async def test_raise_raises_there(points: Failpoints):
    points.arm("test.somewhere=raise")

    with pytest.raises(FailpointReached, match=r"test\.somewhere"):
        await points.reach(NAME)


async def test_an_armed_place_leaves_the_others_alone(points: Failpoints):
    other = points.declare("test.elsewhere", "Another place.")
    points.arm("test.somewhere=raise")

    assert await points.reach(other) is None


async def test_hit_acts_on_that_pass_only(points: Failpoints):
    points.arm("test.somewhere=hit:3:raise")

    await points.reach(NAME)
    await points.reach(NAME)
    with pytest.raises(FailpointReached):
        await points.reach(NAME)
    assert await points.reach(NAME) is None


def test_outside_an_event_loop_it_works_too(points: Failpoints):
    points.arm("test.somewhere=hit:1:raise, ")

    with pytest.raises(FailpointReached):
        points.reach_now(NAME)


@pytest.mark.parametrize("action", ["kill", "hit:1", "hit:1:kill"])
def test_kill_ends_the_process_as_kill_9_does_and_says_so(action: str):
    program = (
        "from guilder.platform import failpoints as f;"
        "f.declare('test.somewhere', '');"
        f"f.arm('test.somewhere={action}');"
        "f.reach_now('test.somewhere');"
        "print('alive')"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout == ""
    assert ended.stderr == "failpoint test.somewhere: kill\n"


@pytest.mark.parametrize(
    "written",
    ["test.somewhere", "test.somewhere=", "test.somewhere=die", "test.somewhere=sleep",
     "test.somewhere=hit:0:kill", "test.somewhere=hit:2:", "test.nowhere=kill", "=kill"],
)  # fmt: skip
def test_what_cannot_be_read_or_does_not_exist_is_refused(points: Failpoints, written: str):
    with pytest.raises(WrongFailpoints, match="GUILDER_FAILPOINTS"):
        points.arm(written)


def test_declared_places_are_listed_with_their_meaning(points: Failpoints):
    assert points.declared()[NAME] == "A place that only this test passes."
