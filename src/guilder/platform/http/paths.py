"""Finds what is registered under a path, and the two spellings that every API path has.

Under the API's prefix a path is first read as it stands. If no route has it and its first segment
is a service name, that segment is dropped and the rest is read as it stands. A path that is a
route always means that route, whichever services there are. One trailing slash means nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, NamedTuple, TypeVar

from guilder.kernel.invariant import invariant

T = TypeVar("T")

API_PREFIX = "/api/v1"


class Found(NamedTuple, Generic[T]):
    """What stands under a path: by method, and the values of the path's parameters in order."""

    methods: dict[str, T]
    values: tuple[str, ...]


class _Node(Generic[T]):
    __slots__ = ("literals", "methods", "parameter")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[T]] = {}
        self.parameter: _Node[T] | None = None
        self.methods: dict[str, T] = {}


class PathTable(Generic[T]):
    """Path templates (``/wallets/{id}``) and what is registered under each of their methods."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, template: str, *, method: str, value: T) -> None:
        """Register ``value``.

        Raises:
            InvariantViolation: the method has this path already, parameters' names aside.
        """
        node = self._root
        for segment in template.strip("/").split("/"):
            if segment.startswith("{"):
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.literals.setdefault(segment, _Node())
        invariant(method not in node.methods, f"{method} {template} is declared once")
        node.methods[method] = value

    def find(self, path: str) -> Found[T] | None:
        """What stands under ``path``; a literal segment wins over a parameter."""
        # No name or id has control characters, so nothing is registered there.
        if not path.startswith("/") or not path.isprintable():
            return None
        return _walk(self._root, path.removesuffix("/").split("/")[1:] or [""], 0, ())


def _walk(
    node: _Node[T], segments: list[str], depth: int, values: tuple[str, ...]
) -> Found[T] | None:
    if depth == len(segments):
        return Found(node.methods, values) if node.methods else None
    segment = segments[depth]
    literal = node.literals.get(segment)
    if literal is not None:
        found = _walk(literal, segments, depth + 1, values)
        if found is not None:
            return found
    if node.parameter is not None and segment:
        return _walk(node.parameter, segments, depth + 1, (*values, segment))
    return None


class ApiPaths(Generic[T]):
    """All paths of one server: those at the root, and those of the API in both spellings."""

    def __init__(self, service_names: Iterable[str] = ()) -> None:
        self._services = frozenset(service_names)
        self._at_root: PathTable[T] = PathTable()
        self._api: PathTable[T] = PathTable()
        self._static: list[str] = []
        self._exact: dict[str, Found[T]] = {}

    def add(self, template: str, *, method: str, value: T, at_root: bool = False) -> None:
        """Register ``value`` under a path of the API, or of the whole server ``at_root``.

        Raises:
            InvariantViolation: the path is taken, or it would hide the API.
        """
        if at_root:
            hidden = f"{template}/".startswith(f"{API_PREFIX}/")
            invariant(not hidden, f"{template} at the root stays clear of the API")
        (self._at_root if at_root else self._api).add(template, method=method, value=value)
        if "{" not in template:
            self._static += self._spellings(template.removesuffix("/"), at_root=at_root)

    def freeze(self) -> None:
        """Make the fast lookup for paths without parameters. Nothing can be added after it."""
        for path in self._static:
            found = self._search(path)
            invariant(found is not None, "a registered path is found")
            if found is not None:
                self._exact[path] = found

    def find(self, path: str) -> Found[T] | None:
        """What stands under a path in either spelling; None where nothing does."""
        return self._exact.get(path) or self._search(path)

    def _spellings(self, path: str, *, at_root: bool) -> Iterator[str]:
        if at_root:
            yield path or "/"
            return
        yield API_PREFIX + path
        for service in self._services:
            yield f"{API_PREFIX}/{service}{path}"

    def _search(self, path: str) -> Found[T] | None:
        if not path.startswith(API_PREFIX + "/"):
            return self._at_root.find(path)
        rest = path[len(API_PREFIX) :]
        found = self._api.find(rest)
        if found is None:
            service, slash, tail = rest[1:].partition("/")
            if slash and service in self._services:
                found = self._api.find("/" + tail)
        return found
