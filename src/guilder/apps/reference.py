"""Writes the pages of docs/reference that code knows best: errors, events, settings, roles, checks.

``python -m guilder.apps.reference docs/reference`` makes them; a test fails while they differ from
what the classes say, so the pages are never edited by hand.
"""

from __future__ import annotations

import inspect
import pkgutil
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Final

import guilder
from guilder.apps.catalogue import (
    broken,
    fields,
    heard_by,
    hearers,
    key_of,
    promise,
    read,
    written,
)
from guilder.kernel.errors import Family, Refusal
from guilder.platform.checks import Check
from guilder.platform.failpoints import declared
from guilder.platform.http.status import INTERNAL_ERROR, STATUS_OF_FAMILY, status_of
from guilder.platform.kafka.cloud_events import topic_of
from guilder.platform.permissions import PERMISSIONS, ROLES
from guilder.platform.settings import Settings, shown

_NOT_IMPORTED: Final = frozenset({"migrations", "__main__"})
_GENERATED: Final = "<!-- Made by `make reference` from the code. Change it there. -->"


def modules() -> list[ModuleType]:
    """Every module of the package, imported; migrations and entry points are left out."""
    found = []
    waiting = [guilder]
    while waiting:
        package = waiting.pop()
        for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if info.name.rpartition(".")[2] in _NOT_IMPORTED:
                continue
            module = import_module(info.name)
            found.append(module)
            if info.ispkg:
                waiting.append(module)
    return sorted(found, key=lambda module: module.__name__)


def refusals() -> list[type[Refusal]]:
    """Every refusal that the package defines, by code and then by name."""
    modules()
    found = {kind for kind in _descendants(Refusal) if kind.__module__.startswith("guilder.")}
    return sorted(found, key=lambda kind: (kind.code, kind.__name__))


def events() -> list[type]:
    """Every event: a class with a ``TYPE`` in a module named ``events``, by its type."""
    found = {
        kind
        for module in modules()
        if "events" in module.__name__.split(".")
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if kind.__module__ == module.__name__ and isinstance(getattr(kind, "TYPE", None), str)
    }
    return sorted(found, key=lambda kind: str(vars(kind)["TYPE"]))


def checks() -> list[Check]:
    """Every check that ``guilder verify`` runs, by table and then by name."""
    found = {
        check.name: check
        for module in modules()
        for check in getattr(module, "CHECKS", ())
        if isinstance(check, Check)
    }
    return sorted(found.values(), key=lambda check: (check.table, check.name))


def _checks_page() -> str:
    rows = [(f"`{check.table}`", check.name, check.invariant) for check in checks()]
    return _page(
        "What `guilder verify` checks",
        "Everything is recomputed from the rows, in one snapshot. A finding names the table, the "
        "row and the invariant that it contradicts, and the command ends with status 1.",
        _table(("Table", "Check", "Invariant"), rows),
    )


def _errors_page() -> str:
    by_code: dict[str, list[type[Refusal]]] = defaultdict(list)
    for kind in refusals():
        by_code[kind.code].append(kind)
    families = [(f"`{family.value}`", str(STATUS_OF_FAMILY[family])) for family in Family]
    return _page(
        "Error codes",
        "Every error has a stable `code` for programs, a `message` for people, sometimes "
        "`details`, and the `request_id`. Switch on the code. A code can stand for several facts, "
        "which the message tells apart.",
        *(_code_section(code, kinds) for code, kinds in by_code.items()),
        f"## {INTERNAL_ERROR}\n\nStatus 500. Guilder itself is at fault; nothing of the request "
        "was kept unless it had been committed before. Repeat it with the same idempotency key.",
        "## Families\n\nA refusal belongs to a family, and the family decides the status unless "
        "the code says otherwise.\n\n" + _table(("Family", "Status"), families),
    )


def _code_section(code: str, kinds: Sequence[type[Refusal]]) -> str:
    rows = [(_source(kind), _summary(kind), _message(kind)) for kind in kinds]
    status = status_of(kinds[0])
    family = kinds[0].family.value
    table = _table(("Fact", "When", "Message"), rows)
    return f"## {code}\n\nStatus {status}, family `{family}`.\n\n{table}"


def _events_page() -> str:
    groups = hearers()
    return _page(
        "Events",
        "Facts that Guilder publishes, each in the commit of the change it speaks of. Fields are "
        "only ever added; `events.json` beside this page is the promise. Order is kept for each "
        "key. How they travel, and how to listen: [Events](../guides/events.md).",
        *(_event_section(kind, groups=groups) for kind in events()),
    )


def _event_section(kind: type, *, groups: Mapping[str, frozenset[str] | None]) -> str:
    type_ = vars(kind)["TYPE"]
    who = ", ".join(f"`{group}`" for group in heard_by(kind, groups)) or "nobody yet"
    rows = [(f"`{name}`", f"`{annotation}`") for name, annotation in fields(kind)]
    head = f"## {type_}\n\n{_source(kind)}: {_summary(kind)}"
    told = f"Topic `{topic_of(type_)}`, keyed by {key_of(kind)}. Heard by {who}."
    return f"{head}\n\n{told}\n\n{_table(('Field', 'Type'), rows)}"


def _promise() -> str:
    return written(promise(events()))


def _failpoints_page() -> str:
    modules()
    rows = [(f"`{name}`", meaning) for name, meaning in declared().items()]
    return _page(
        "Failpoints",
        "Places where a test can make a process die, fail or wait, set by `GUILDER_FAILPOINTS`. "
        "They are off by default, and production refuses to start while one is on.",
        _table(("Name", "What is true there"), rows),
    )


def _roles_page() -> str:
    rows = [
        (f"`{role}`", ", ".join(f"`{name}`" for name in sorted(permissions)) or "none")
        for role, permissions in ROLES.items()
    ]
    meanings = [
        (f"`{name}`", meaning, ", ".join(f"`{role}`" for role in ROLES if name in ROLES[role]))
        for name, meaning in PERMISSIONS.items()
    ]
    return _page(
        "Roles",
        "What each role may do. A token carries roles; what they grant is decided by the server "
        "that is asked, and a change of roles acts on the next request.",
        _table(("Role", "Permissions"), rows),
        "## Permissions\n\nWhat a role of your own (`POST /rbac/roles`) can grant, beside the "
        "permissions that you add (`POST /rbac/permissions`). Nobody gives or takes a permission "
        "that they do not have; what every customer has is no power over others and may be given "
        "by anybody who gives roles.\n\n" + _table(("Permission", "Lets you", "Roles"), meanings),
    )


def _settings_page() -> str:
    rows = [
        (f"`{variable}`", meaning, f"`{default}`" if default else "")
        for variable, meaning, default, _ in shown(Settings())
    ]
    return _page(
        "Settings",
        "Set in the environment or in a file `guilder.env`; the environment wins. "
        "`guilder settings` lists them with the values in force.",
        _table(("Variable", "Meaning", "Default"), rows),
    )


def _page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", _GENERATED, *parts]) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("``", "`")


def _summary(kind: type) -> str:
    return (inspect.getdoc(kind) or "").partition("\n\n")[0]


def _message(kind: type[Refusal]) -> str:
    return kind.message if "message" in vars(kind) or not vars(kind).get("__init__") else ""


def _source(kind: type) -> str:
    path = inspect.getsourcefile(kind) or ""
    place = Path(path).relative_to(Path(guilder.__file__).parent).as_posix()
    return f"[{kind.__name__}](../../src/guilder/{place})"


def _descendants(kind: type[Refusal]) -> Iterator[type[Refusal]]:
    for child in kind.__subclasses__():
        yield child
        yield from _descendants(child)


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "checks.md": _checks_page,
    "errors.md": _errors_page,
    "events.json": _promise,
    "events.md": _events_page,
    "failpoints.md": _failpoints_page,
    "roles.md": _roles_page,
    "settings.md": _settings_page,
}
"""Every generated page: its file, and what writes its text."""


def main() -> None:
    """Write the pages into the folder that is named, or docs/reference."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/reference")
    folder.mkdir(parents=True, exist_ok=True)
    promised = folder / "events.json"
    if promised.exists():
        lost = broken(read(promised.read_text(encoding="utf-8")), now=promise(events()))
        if lost:
            sys.exit("\n".join(["Somebody may rely on this:", *lost]))
    for name, text in PAGES.items():
        (folder / name).write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
