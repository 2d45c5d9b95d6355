"""What was done with a column: the lines of the report of a schema alignment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["ColumnReport"]


@dataclass(frozen=True)
class ColumnReport:
    """What was done with one column.

    Parameters
    ----------
    source, target : str or None
        Names on both sides; None where a side has no such column.
    how : str
        How the pair was found, or what was done where a side has no such column.
    score : float, default=1.0
        Confidence in the pair, 0 to 1.
    factor, offset : float
        ``source value = factor * target value + offset``.
    unit : str, default=""
        Name of the conversion.
    categories : dict
        Values of the target that stand for other values of the source.
    note : str, default=""
        What stayed open.
    """

    source: str | None
    target: str | None
    how: str
    score: float = 1.0
    factor: float = 1.0
    offset: float = 0.0
    unit: str = ""
    categories: dict[Any, Any] = field(default_factory=dict)
    note: str = ""

    def __str__(self) -> str:
        pair = " <- ".join(repr(n) if n is not None else "-" for n in (self.source, self.target))
        parts = [f"{pair}: {self.how} ({self.score:.2f})"]
        if self.unit:
            shift = f" {self.offset:+g}" if self.offset else ""
            parts.append(f"unit {self.unit} (x {self.factor:g}{shift})")
        if self.categories:
            renamed = ", ".join(f"{a!r} to {b!r}" for a, b in self.categories.items())
            parts.append(f"categories {renamed}")
        if self.note:
            parts.append(self.note)
        return "; ".join(parts)
