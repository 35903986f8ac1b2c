"""``guilder verify``: recompute everything from the entries and name every row that disagrees."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from guilder.apps.compose import build_house
from guilder.apps.database import any_database
from guilder.apps.session import begin, say
from guilder.platform.checks import Checked, run_checks
from guilder.platform.db import Database, Limits
from guilder.platform.postgres.access import Access
from guilder.platform.settings import Settings

_NO_HURRY: Final = Limits(
    statement_ms=0,
    lock_ms=60_000,
    idle_in_transaction_ms=0,
    command_s=24 * 3600.0,
    acquire_s=24 * 3600.0,
)


class Report(msgspec.Struct, kw_only=True):
    """What ``--json`` prints."""

    valid: bool
    findings: list[dict[str, str]]
    checks: list[dict[str, str | int | float]]


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("verify", short_help="Recompute everything and compare.")(verify)


def verify(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    heads: Annotated[
        Path | None,
        typer.Option(
            help="Compare with the heads published in this folder, as a copy kept elsewhere.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
) -> int:
    """Recompute every balance, chain, hold and limit from the entries, in one snapshot.

    Where heads were published, every one of them has to be a prefix of what is stored.
    Ends with status 1 when a row disagrees, and names its table, its key and the invariant.
    """
    settings = begin(quiet=as_json)
    if heads is not None:
        settings = settings.model_copy(update={"audit_heads_dir": heads})
    with any_database(settings, report=say) as reached:
        done = asyncio.run(_verify(settings, access=reached.access, is_quiet=as_json))
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(_report(done))).decode())
    else:
        _show(done)
    return 1 if any(checked.findings for checked in done) else 0


async def _verify(settings: Settings, *, access: Access, is_quiet: bool) -> list[Checked]:
    db = await Database.connect(
        access.url,
        role=access.role,
        application_name="guilder verify",
        max_connections=2,
        limits=_NO_HURRY,
    )
    try:
        house = build_house(settings, db=db)
        checks = [check for module in house.modules for check in module.checks]
        console = Console(stderr=True, quiet=is_quiet)
        with console.status("Reading the entries") as status:
            return await run_checks(
                db, checks, report=lambda checked: status.update(f"Checked {checked.check.name}")
            )
    finally:
        await db.close()


def _report(done: Sequence[Checked]) -> Report:
    found = [finding for checked in done for finding in checked.findings]
    return Report(
        valid=not found,
        findings=[
            {
                "table": finding.table,
                "row": finding.row,
                "invariant": finding.invariant,
                "detail": finding.detail,
            }
            for finding in found
        ],
        checks=[
            {
                "name": checked.check.name,
                "invariant": checked.check.invariant,
                "findings": len(checked.findings),
                "took_s": round(checked.took_s, 3),
            }
            for checked in done
        ],
    )


def _show(done: Sequence[Checked]) -> None:
    console = Console()
    checks = Table(box=None, pad_edge=False)
    checks.add_column("")
    checks.add_column("what must be true")
    checks.add_column("seconds", justify="right")
    for checked in done:
        mark = Text("wrong", style="bold red") if checked.findings else Text("ok", style="green")
        checks.add_row(mark, Text(checked.check.invariant), f"{checked.took_s:.2f}")
    console.print(checks)
    found = [finding for checked in done for finding in checked.findings]
    if not found:
        console.print(Text("\nEverything adds up.", style="bold green"))
        return
    findings = Table(title=f"{len(found)} findings", title_justify="left", title_style="bold red")
    for heading in ("table", "row", "invariant", "what is wrong"):
        findings.add_column(heading, overflow="fold")
    for finding in found:
        row = (finding.table, finding.row, finding.invariant, finding.detail)
        findings.add_row(*(Text(cell) for cell in row))
    console.print()
    console.print(findings)
