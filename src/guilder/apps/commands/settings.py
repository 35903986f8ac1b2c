"""``guilder settings``: every setting, its meaning, its default and what is in force."""

from __future__ import annotations

import json
import textwrap
from typing import Annotated

import typer

from guilder.apps.session import say
from guilder.platform.settings import load_here, shown


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("settings", short_help="List every setting, its meaning and its value.")(settings)


def settings(
    *, as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False
) -> None:
    """List every setting with its meaning, its default and its value; secrets are masked."""
    found, warnings = load_here()
    for warning in warnings:
        say(f"Warning: {warning}")
    rows = shown(found)
    if as_json:
        keys = ("meaning", "default", "value")
        print(
            json.dumps({name: dict(zip(keys, row, strict=True)) for name, *row in rows}, indent=2)
        )
        return
    for variable, meaning, default, value in rows:
        print(f"{variable}={value}" if value else variable)
        usual = f" Default: {default}." if default and default != value else ""
        print(
            textwrap.fill(
                meaning + usual, width=88, initial_indent="    ", subsequent_indent="    "
            )
        )
