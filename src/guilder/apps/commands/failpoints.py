"""``guilder failpoints``: the places where a test can inject a fault."""

from __future__ import annotations

import json
from typing import Annotated, Final

import typer

from guilder.apps.compose import every_failpoint
from guilder.apps.session import begin

_HOW: Final = """
Set GUILDER_FAILPOINTS to name=action, several separated by commas:
  kill          the process ends there as by kill -9
  raise         an exception is raised there
  sleep:250     it waits there for 250 ms
  hit:3:kill    the action happens on the third pass only
Production refuses to start with any.
"""


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("failpoints", short_help="Places where a test can inject a fault.")(list_failpoints)


def list_failpoints(
    *, as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False
) -> None:
    """List the places where GUILDER_FAILPOINTS can make a process die, fail or wait."""
    begin()
    points = every_failpoint()
    if as_json:
        print(json.dumps(dict(points), indent=2))
        return
    width = max(map(len, points), default=0)
    for name, meaning in points.items():
        print(f"{name:<{width}}  {meaning}")
    print(_HOW)
