"""The command ``guilder``: one file in `guilder.apps.commands` for each of its commands.

A command's file has a function ``register(cli)``. Only the file of the command that is called is
imported, so that none pays for the others; asking for help imports them all.
"""

from __future__ import annotations

import pkgutil
import sys
from importlib import import_module
from typing import Annotated, Final

import typer

from guilder import __version__
from guilder.apps import commands
from guilder.platform.startup import CannotStart

_ORDER: Final = ("up", "demo", "serve", "work", "migrate", "verify", "admin", "settings")


def main() -> None:
    """Run the command line; end with status 1 and a line of what is wrong when it cannot."""
    try:
        _command_line(sys.argv[1:])()
    except CannotStart as problem:
        for line in problem.lines:
            print(f"guilder: {line}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _command_line(arguments: list[str]) -> typer.Typer:
    """The commands that ``arguments`` may mean."""
    cli = typer.Typer(
        help="Guilder: wallets and accounts on one verified double-entry ledger.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        result_callback=_end,
    )
    cli.callback(invoke_without_command=True)(_guilder)
    named = [name for name in _names() if arguments[:1] == [name]]
    for name in named or _names():
        import_module(f"{commands.__name__}.{name}").register(cli)
    return cli


def _names() -> list[str]:
    found = {module.name for module in pkgutil.iter_modules(commands.__path__)}
    first = [name for name in _ORDER if name in found]
    return first + sorted(found - set(first))


def _end(status: int | None, **_: object) -> None:
    """A command that returns a number ends the process with it."""
    if status:
        raise typer.Exit(status)


def _guilder(
    *,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        print(f"Guilder {__version__}")
        raise typer.Exit


if __name__ == "__main__":
    main()
