"""What a measurement comes to: one figure with its ratio and its target."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

Detail = Mapping[str, float | int | str]


class Figure(msgspec.Struct, kw_only=True):
    """A figure. ``ratio`` is ``value`` against what ``against`` names; None without a base.

    ``target`` is what the ratio, or where there is none the value, should be: at least, or at
    most when ``is_cost``.
    """

    name: str
    title: str
    unit: str
    value: float
    against: str = ""
    ratio: float | None = None
    target: float | None = None
    is_cost: bool = False
    detail: Detail = {}

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None without one, or without what it is relative to."""
        if self.target is None or (self.against and self.ratio is None):
            return None
        shown = self.value if self.ratio is None else self.ratio
        return shown <= self.target if self.is_cost else shown >= self.target


class Skipped(msgspec.Struct, kw_only=True):
    """A figure that could not be measured, and why."""

    name: str
    reason: str
