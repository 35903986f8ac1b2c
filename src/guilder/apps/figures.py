"""Metrics of several processes of one parent, told by whichever of them is asked.

Each process writes its figures from time to time to a place of its own in memory that all of them
share; each sample then says which process it is of.
"""

from __future__ import annotations

import asyncio
import mmap
from collections.abc import Iterable, Iterator, Sequence
from struct import Struct as Layout
from typing import Final
from zlib import crc32

import msgspec
import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

_BYTES: Final = 4 * 2**20
_HEAD: Final = Layout("<II")
_EVERY_S: Final = 5.0
_LABEL: Final = "worker"

_log = structlog.get_logger("guilder.figures")

_Samples = list[tuple[str, dict[str, str], float]]
_Family = tuple[str, str, str, _Samples]


class Board:
    """Places for the figures of processes, by their names. It is made before they are."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._memory = mmap.mmap(-1, _BYTES * len(self.names))

    def write(self, name: str, families: Sequence[_Family]) -> None:
        """Replace the figures of one process."""
        text = msgspec.msgpack.encode(families)
        if len(text) > _BYTES - _HEAD.size:
            _log.warning("figures.too_many", worker=name, bytes=len(text))
            return
        start = self.names.index(name) * _BYTES
        self._memory[start + _HEAD.size : start + _HEAD.size + len(text)] = text
        self._memory[start : start + _HEAD.size] = _HEAD.pack(len(text), crc32(text))

    def read(self, name: str) -> list[_Family]:
        """The figures of one process: none before the first time, or while they are written."""
        start = self.names.index(name) * _BYTES
        size, checksum = _HEAD.unpack(self._memory[start : start + _HEAD.size])
        text = self._memory[start + _HEAD.size : start + _HEAD.size + size]
        if size == 0 or crc32(text) != checksum:
            return []
        return msgspec.msgpack.decode(text, type=list[_Family])


class SharedRegistry(CollectorRegistry):
    """What the process called ``name`` counts, told together with what the others do."""

    def __init__(self, board: Board, *, name: str) -> None:
        super().__init__()
        self._board = board
        self._name = name

    async def keep_sharing(self) -> None:
        """Write this process's figures for the others to see, until cancelled."""
        while True:
            self.share()
            await asyncio.sleep(_EVERY_S)

    def share(self) -> None:
        """Write this process's figures for the others to see."""
        self._board.write(self._name, list(self._own()))

    def collect(self) -> Iterator[Metric]:
        """Every process's figures, those of one metric together."""
        found: dict[str, Metric] = {}
        for name in self._board.names:
            families = self._own() if name == self._name else self._board.read(name)
            for family in families:
                _add(found, family, worker=name)
        yield from found.values()

    def _own(self) -> Iterable[_Family]:
        for metric in super().collect():
            samples = [(one.name, dict(one.labels), one.value) for one in metric.samples]
            yield metric.name, metric.documentation, metric.type, samples


def _add(found: dict[str, Metric], family: _Family, *, worker: str) -> None:
    name, documentation, kind, samples = family
    metric = found.get(name)
    if metric is None:
        metric = found[name] = Metric(name, documentation, kind)
    for sample, labels, value in samples:
        metric.add_sample(sample, {**labels, _LABEL: worker}, value)
