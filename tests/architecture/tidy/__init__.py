"""The house style as functions over source files: each rule reads one file and names what it finds.

`RULES` is all of them. A rule that makes a place worse is changed here, for everyone, not
silenced there.
"""

from __future__ import annotations

from tests.architecture.tidy import (
    database,
    docstrings,
    imports,
    lengths,
    names,
    notes,
    purity,
    settings,
    signatures,
    testing,
)
from tests.architecture.tidy.source import Rule

RULES: tuple[Rule, ...] = (
    database.commits_in_one_place,
    database.notifies_in_one_place,
    database.old_rows_by_their_index,
    database.sql_in_stores,
    database.transactions_opened_by_services,
    docstrings.missing_module_docstrings,
    docstrings.missing_public_docstrings,
    docstrings.unlisted_refusals,
    imports.exporting_contexts,
    imports.hidden_imports,
    lengths.long_files,
    lengths.long_functions,
    names.placeholder_people,
    names.vague_functions,
    names.vague_modules,
    notes.machine_paths,
    notes.silent_suppressions,
    notes.unfinished_work,
    purity.clocks_in_the_core,
    purity.floats_in_the_core,
    purity.foreign_imports_in_the_core,
    settings.environment_reads,
    signatures.positional_parameters,
    testing.empty_tests,
    testing.patching,
    testing.short_test_names,
    testing.sleeping_tests,
)
