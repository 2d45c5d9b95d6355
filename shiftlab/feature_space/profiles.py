"""What the columns of a table look like: their distributions, and how they go together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import narwhals.stable.v1 as nw
import numpy as np
from numpy.typing import NDArray

from shiftlab.domain import Domain
from shiftlab.feature_space.matching import Column

__all__ = ["GRID", "Profiles", "read_profiles"]

Floats = NDArray[np.float64]

# Rows, taken evenly, on which dependence is measured.
MOST_ROWS = 5_000
# Numbers with at most so many values are compared as levels, too.
MOST_LEVELS = 12
GRID = np.linspace(0.0, 1.0, 66)[1:-1]


@dataclass(frozen=True)
class Profiles:
    """The columns of a table, as far as they can be told without names.

    Parameters
    ----------
    columns : list of Column
        The columns.
    n_rows : int
        Rows that dependence was measured on.
    quantiles : ndarray of shape (d, 64)
        Of numbers; NaN for categories.
    levels : list of (ndarray or None)
        Shares of the values of a column that has few: in their order for numbers, falling
        for categories.
    dependence : ndarray of shape (d, d)
        Rank correlation of two columns of many numbers, with its sign; correlation ratio of
        ranks, or Cramér's V, where levels are involved. Both are corrected for their bias.
    ranks : ndarray of shape (n_rows, d)
        Ranks of numbers, 0 to 1, 0.5 for gaps and categories.
    values : list of ndarray of shape (n_rows,)
        Of each column, in the rows that were looked at.
    """

    columns: list[Column]
    n_rows: int
    quantiles: Floats
    levels: list[Floats | None]
    dependence: Floats
    ranks: NDArray[np.float32]
    values: list[NDArray[Any]]

    @property
    def few(self) -> NDArray[np.bool_]:
        """Which columns have few values."""
        return np.array([levels is not None for levels in self.levels], dtype=bool)

    @property
    def constant(self) -> NDArray[np.bool_]:
        """Which columns have one value or none, so that only a name can tell them."""
        return np.array(
            [
                len(c.values) == 0 or bool(c.values[0] == c.values[-1])
                if c.numeric
                else len(c.labels) < 2
                for c in self.columns
            ],
            dtype=bool,
        )


def read_profiles(domain: Domain, columns: list[Column]) -> Profiles:
    """Measure distributions and pairwise dependence; O(n d^2) on at most 5,000 rows.

    Parameters
    ----------
    domain : Domain
        A frame or an array.
    columns : list of Column
        As `read_columns` returns them for the same domain.

    Returns
    -------
    Profiles
    """
    rows = np.linspace(0, domain.n_rows - 1, min(domain.n_rows, MOST_ROWS)).astype(np.intp)
    d = len(columns)
    quantiles = np.full((d, len(GRID)), np.nan)
    levels: list[Floats | None] = [None] * d
    ranks = np.full((len(rows), d), 0.5, dtype=np.float32)
    coded: dict[int, NDArray[np.intp]] = {}
    read = _values(domain, rows)
    for j, (column, values) in enumerate(zip(columns, read, strict=True)):
        if column.numeric:
            if len(column.values):
                quantiles[j] = np.quantile(column.values, GRID)
            ranks[:, j] = _ranks(values)
            distinct, codes = _codes(values)
            if 0 < len(distinct) <= min(MOST_LEVELS, max(2, len(rows) // 5)):
                coded[j] = codes
                levels[j] = _shares(codes, len(distinct))
        else:
            codes = np.unique(values, return_inverse=True)[1].reshape(-1)
            coded[j] = codes
            levels[j] = np.sort(_shares(codes, int(codes.max()) + 1))[::-1]
    dependence = _dependence(_standard(ranks), coded)
    return Profiles(columns, len(rows), quantiles, levels, dependence, ranks, read)


def _values(domain: Domain, rows: NDArray[np.intp]) -> list[NDArray[Any]]:
    """Values of each column: float with NaN for numbers, text for categories."""
    if not domain.is_frame:
        return list(np.asarray(domain.X[rows], dtype=np.float64).T)
    table = nw.from_native(domain.X, eager_only=True)
    found: list[NDArray[Any]] = []
    for j in range(len(table.columns)):
        column = table[:, j][rows.tolist()]
        if column.dtype.is_numeric() or column.dtype == nw.Boolean:
            values = [np.nan if v is None else float(v) for v in column.to_list()]
            found.append(np.array(values, dtype=np.float64))
        else:
            found.append(np.array([str(v) for v in column.to_list()]))
    return found


def _codes(values: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Distinct finite values, and the position of each value among them; gaps come last."""
    distinct, codes = np.unique(values, return_inverse=True)
    return distinct[np.isfinite(distinct)], codes.reshape(-1)


def _shares(codes: NDArray[np.intp], k: int) -> Floats:
    counts = np.bincount(codes, minlength=k)[:k].astype(np.float64)
    return np.asarray(counts / counts.sum())


def _ranks(values: Floats) -> Floats:
    """Mid-ranks in 0..1; gaps are in the middle."""
    finite = np.isfinite(values)
    out = np.full(len(values), 0.5)
    if finite.any():
        _, codes, counts = np.unique(values[finite], return_inverse=True, return_counts=True)
        middle = np.cumsum(counts) - 0.5 * counts
        out[finite] = middle[codes.reshape(-1)] / finite.sum()
    return out


def _standard(ranks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Columns with mean 0 and norm 1; constant ones are 0."""
    centred = ranks - ranks.mean(axis=0)
    norm = np.linalg.norm(centred, axis=0)
    return np.asarray(centred / np.where(norm > 1e-6, norm, np.inf), dtype=np.float32)


def _dependence(ranks: NDArray[np.float32], coded: dict[int, NDArray[np.intp]]) -> Floats:
    n = len(ranks)
    out = (ranks.T @ ranks).astype(np.float64)
    few = sorted(coded)
    sizes = [int(coded[j].max()) + 1 for j in few]
    # Categories of which hardly any comes twice are names of rows, and go with nothing.
    for j, size in zip(few, sizes, strict=True):
        if size > max(2, n // 5):
            out[j, :] = out[:, j] = 0.0
    kept = [(j, size) for j, size in zip(few, sizes, strict=True) if size <= max(2, n // 5)]
    if not kept:
        return out
    starts = np.cumsum([0, *(size for _, size in kept)])
    indicator = np.zeros((n, starts[-1]), dtype=np.float32)
    for (j, _), start in zip(kept, starts[:-1], strict=True):
        indicator[np.arange(n), start + coded[j]] = 1.0
    sums = (indicator.T @ ranks).astype(np.float64)
    joint = (indicator.T @ indicator).astype(np.float64)
    counts = np.diag(joint)
    for a, (j, size) in enumerate(kept):
        part = slice(starts[a], starts[a + 1])
        explained = np.sum(sums[part] ** 2 / counts[part, None], axis=0)
        noise = (size - 1) / max(n - 1, 1)
        ratio = np.sqrt(np.clip((explained - noise) / (1 - noise), 0, 1)) if noise < 1 else 0.0
        out[j, :] = out[:, j] = ratio
    for a, (j, size) in enumerate(kept):
        for b, (k, other) in enumerate(kept):
            if b >= a:
                table = joint[starts[a] : starts[a + 1], starts[b] : starts[b + 1]]
                out[j, k] = out[k, j] = _cramer(table, n, size, other)
    return out


def _cramer(table: Floats, n: int, rows: int, columns: int) -> float:
    """Cramér's V, corrected for its bias (Bergsma 2013)."""
    expected = table.sum(1)[:, None] * table.sum(0) / n
    phi = float(np.sum((table - expected) ** 2 / expected)) / n
    phi = max(0.0, phi - (rows - 1) * (columns - 1) / max(n - 1, 1))
    r = rows - (rows - 1) ** 2 / max(n - 1, 1)
    c = columns - (columns - 1) ** 2 / max(n - 1, 1)
    least = min(r, c) - 1
    return float(min(1.0, np.sqrt(phi / least))) if least > 0 else 0.0
