"""Columns that say when or in which order a row was taken, and not what it is like."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shiftlab.diagnosis.columns import Column

__all__ = ["set_apart"]

FEWEST = 20  # values on a side, below which an order may be chance


def set_apart(columns: list[Column]) -> tuple[list[Column], list[Column], str]:
    """Split off times and row numbers.

    Two samples taken one after the other always differ in them: with such a column X would be
    told apart with certainty, nothing would lie where the source has rows, and no other
    question could be answered. They are compared by themselves. If there is nothing else, they
    stay.

    Parameters
    ----------
    columns : list of Column
        Columns of both sides.

    Returns
    -------
    tuple of (kept, apart, note)
        The note is empty where nothing is set apart.

    Examples
    --------
    >>> import numpy as np
    >>> n = np.arange(50.0)
    >>> number = Column("id", "number", n, n + 50)
    >>> size = Column("size", "number", n % 7, n % 5)
    >>> [c.name for c in set_apart([number, size])[1]]
    ['id']
    """
    apart = [c for c in columns if c.family == "time" or _counts_rows(c)]
    kept = [c for c in columns if c not in apart]
    if not apart or not kept:
        return columns, [], ""
    names = ", ".join(f"'{c.name}'" for c in apart)
    kind = "a time or a row number" if len(apart) == 1 else "times or row numbers"
    return (
        kept,
        apart,
        f"{names}: {kind}, so compared by itself and left out of X. "
        "Such a column differs between any two samples that were taken one after the other.",
    )


def _counts_rows(column: Column) -> bool:
    """Whether both sides hold whole numbers that rise from row to row and never repeat."""
    if column.kind != "number" or column.family != "number":
        return False
    return _rises(column.source) and _rises(column.target)


def _rises(values: NDArray[np.float64]) -> bool:
    if values.size < FEWEST or not np.isfinite(values).all():
        return False
    return bool((values == np.round(values)).all() and (np.diff(values) > 0).all())
