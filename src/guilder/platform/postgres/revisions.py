"""Turns alembic revisions into SQL text. Apart, because alembic takes half a second to import.

The text is what runs: ``op.execute`` passes its SQL on letter by letter, several statements at
once if wished, with no parameter syntax of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One revision as SQL: its name, its one-line meaning, and the text to run."""

    revision: str
    meaning: str
    sql: str


def upgrades(folder: Path, *, schema: str, since: str | None) -> list[Step]:
    """The steps from revision ``since`` (None: nothing was done yet) to the newest, in order."""
    script = _script(folder)
    steps = script._upgrade_revs("head", since)  # type: ignore[arg-type]  # None is the base
    return _rendered(steps, script=script, schema=schema, since=since)


def downgrades(folder: Path, *, schema: str, since: str) -> list[Step]:
    """The steps from revision ``since`` back to before the first, in order."""
    script = _script(folder)
    steps = script._downgrade_revs("base", since)
    return _rendered(steps, script=script, schema=schema, since=since)


def _script(folder: Path) -> ScriptDirectory:
    return ScriptDirectory(str(folder), version_locations=[str(folder)])


def _rendered(
    steps: list[RevisionStep], *, script: ScriptDirectory, schema: str, since: str | None
) -> list[Step]:
    rendered = []
    for step in steps:
        rendered.append(_render(step, script=script, schema=schema, since=since))
        moved_to = step.to_revisions_no_deps
        since = moved_to[0] if moved_to else None
    return rendered


def _render(step: RevisionStep, *, script: ScriptDirectory, schema: str, since: str | None) -> Step:
    written = StringIO()
    context = MigrationContext.configure(
        dialect_name="postgresql",
        opts={
            "as_sql": True,
            "output_buffer": written,
            "script": script,
            "starting_rev": since,
            "version_table_schema": schema,
            "fn": lambda _revisions, _context: [step],
        },
    )

    def pass_on(sql: str) -> None:
        context.impl.static_output(f"{sql};")

    with Operations.context(context) as operations:
        operations.execute = pass_on  # type: ignore[method-assign, assignment]  # plain text only
        context.run_migrations()
    return Step(revision=step.revision.revision, meaning=step.doc or "", sql=written.getvalue())
