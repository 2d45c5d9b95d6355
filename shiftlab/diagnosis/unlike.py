"""Rows of the target that look least like the source, each with its most unusual column."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shiftlab.diagnosis.columns import Column
from shiftlab.diagnosis.explanation import UnlikeRow
from shiftlab.diagnosis.regions import date_text, level_text

__all__ = ["find_unlike_rows"]

Floats = NDArray[np.float64]

USUAL = 0.05  # a value with this share or more of the source as far out is nothing unusual


def find_unlike_rows(
    columns: Sequence[Column],
    target_rows: ArrayLike,
    balanced_probability: ArrayLike,
    original_rows: ArrayLike,
    most: int = 10,
) -> tuple[UnlikeRow, ...]:
    r"""Name the target rows with the highest probability of being the target's.

    For each, the reason names the column whose value is rarest in the source: for a number
    twice the share of the source's values that are as far out, for a level or a missing
    value its share. Equally rare numbers are ordered by how far beyond the source's median
    they lie, in interquartile ranges. Where no column has a rarity below 5% the reason says
    that the combination is what is unusual. O(n log n) for each of the d columns.

    Parameters
    ----------
    columns : sequence of Column
        Columns of both sides.
    target_rows : array-like of int, shape (m,)
        Positions in the columns' ``target`` of the rows that have a probability.
    balanced_probability : array-like of shape (m,)
        Of each of those rows, that it is the target's, both sides counting the same; by a
        model that did not learn from the row.
    original_rows : array-like of int, shape (m,)
        Position of each of those rows in the target as it was given.
    most : int, default=10
        Most rows to name.

    Returns
    -------
    tuple of UnlikeRow
        The most unlike first; only rows that look more like the target than the source.

    Examples
    --------
    >>> import numpy as np
    >>> age = Column("age", "number", np.arange(20.0, 70.0), np.array([30.0, 93.0]))
    >>> find_unlike_rows([age], [0, 1], [0.4, 0.99], [0, 1])[0].reason
    'age = 93, above every value of the source'
    """
    rows = np.asarray(target_rows, dtype=np.intp)
    probability = np.asarray(balanced_probability, dtype=np.float64)
    original = np.asarray(original_rows, dtype=np.intp)
    if not rows.shape == probability.shape == original.shape:
        raise ValueError(
            "target_rows, balanced_probability and original_rows must have the same length, got "
            f"{rows.size}, {probability.size} and {original.size}"
        )
    order = np.argsort(-probability, kind="stable")[:most]
    order = order[probability[order] > 0.5]
    reasons = _reasons(columns, rows[order])
    return tuple(
        UnlikeRow(int(original[i]), float(probability[i]), reason)
        for i, reason in zip(order, reasons, strict=True)
    )


def _reasons(columns: Sequence[Column], rows: NDArray[np.intp]) -> list[str]:
    """In words, the rarest column of each row."""
    rarest: list[tuple[float, float, str]] = [(math.inf, 0.0, "")] * rows.size
    for column in columns:
        describe = _Number(column) if column.kind == "number" else _Level(column)
        for i, row in enumerate(rows):
            rarest[i] = min(rarest[i], describe(float(column.target[row])), key=lambda r: r[:2])
    alone = "no single column is unusual; the combination of values is"
    return [text if rarity < USUAL else alone for rarity, _, text in rarest]


class _Number:
    """Rarity, minus the distance, and words for one value of a number."""

    def __init__(self, column: Column) -> None:
        self.column = column
        self.present = np.sort(column.source[~np.isnan(column.source)])
        finite = self.present[np.isfinite(self.present)]
        quartiles = np.quantile(finite, [0.25, 0.5, 0.75]) if finite.size else np.zeros(3)
        self.median = float(quartiles[1])
        spread = float(quartiles[2] - quartiles[0])
        self.spread = spread or (float(finite.std()) if finite.size else 0.0) or 1.0

    def __call__(self, value: float) -> tuple[float, float, str]:
        name, n = self.column.name, self.present.size
        if np.isnan(value):
            return _share_of_missing(self.column)
        text = date_text(value) if self.column.family == "time" else f"{value:.4g}"
        if n == 0:
            return 0.0, 0.0, f"{name} = {text}, always missing in the source"
        below = int(np.searchsorted(self.present, value, side="left"))
        above = n - int(np.searchsorted(self.present, value, side="right"))
        rarity = min(1.0, 2 * (n - max(below, above)) / n)
        where = "above" if below >= above else "below"
        which = "every value" if max(below, above) == n else _percent(max(below, above) / n)
        words = f"{name} = {text}, {where} {which} of the source"
        return rarity, -abs(value - self.median) / self.spread, words


class _Level:
    """The same for a level of a category."""

    def __init__(self, column: Column) -> None:
        self.column = column
        codes = column.source[~np.isnan(column.source)].astype(np.intp)
        self.counts = np.bincount(codes, minlength=len(column.levels))

    def __call__(self, value: float) -> tuple[float, float, str]:
        if np.isnan(value):
            return _share_of_missing(self.column)
        code = int(value)
        share = float(self.counts[code] / max(1, self.column.source.size))
        return share, 0.0, f"{self.column.name} = {level_text(self.column, code)}, {_seen(share)}"


def _share_of_missing(column: Column) -> tuple[float, float, str]:
    share = float(np.isnan(column.source).mean())
    return share, 0.0, f"{column.name} is missing, {_seen(share)}"


def _seen(share: float) -> str:
    return f"as in {_percent(share)} of the source" if share else "never in the source"


def _percent(share: float) -> str:
    """One digit after the point, rounded towards 50% so that 99.97% is not 100%."""
    scaled = share * 1000
    whole = math.floor(scaled + 1e-9) if share > 0.5 else math.ceil(scaled - 1e-9)
    return f"{whole / 10:g}%"
